"""What a loop is woken by."""

from __future__ import annotations

import asyncio

import pytest

from agentserver.durable._bell import Bell


async def test_a_cancellation_is_heard_although_the_bell_has_just_rung() -> None:
    bell = Bell()
    task = asyncio.create_task(bell.wait(60))
    await asyncio.sleep(0)
    bell.ring()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_ring_before_the_wait_counts_once() -> None:
    bell = Bell()
    bell.ring()
    await bell.wait(60)
    loop = asyncio.get_running_loop()
    since = loop.time()
    await bell.wait(0.01)
    assert loop.time() - since > 0.005
