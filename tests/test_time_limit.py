"""What is awaited for some seconds at most, and its cancellation."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentserver._time_limit import wait_for
from tests.servers import ROOT


async def test_a_cancellation_is_heard_although_the_result_has_just_come() -> None:
    result: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(wait_for(result, 10))
    await asyncio.sleep(0)
    result.set_result(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_failure_that_nobody_hears_of_is_not_reported_as_forgotten() -> None:
    told: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context))
    failure: asyncio.Future[int] = loop.create_future()
    task = asyncio.create_task(wait_for(failure, 10))
    await asyncio.sleep(0)
    failure.set_exception(ValueError())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    del failure, task
    await asyncio.sleep(0)
    assert told == []


async def test_what_takes_too_long_is_cancelled_and_what_it_cleans_up_is_awaited() -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            seen.append("clean")

    with pytest.raises(asyncio.TimeoutError):
        await wait_for(work(), 0.01)
    assert seen == ["clean"]
    task = asyncio.create_task(wait_for(work(), None))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["clean", "clean"]


async def test_what_ends_in_time_gives_its_result_or_its_error_and_needs_none_if_it_is_there() -> None:
    async def divide(number: int) -> float:
        return 1 / number

    assert await wait_for(divide(2), 10) == 0.5
    assert await wait_for(divide(2), 0) == 0.5
    with pytest.raises(ZeroDivisionError):
        await wait_for(divide(0), None)


async def test_who_ends_otherwise_although_its_time_is_up_is_believed() -> None:
    async def work() -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return 1
        return 0

    assert await wait_for(work(), 0.001) == 1


def test_nothing_of_ours_uses_the_one_that_loses_cancellations() -> None:
    found = [
        path.name
        for path in (ROOT / "agentserver").rglob("*.py")
        if "asyncio.wait_for(" in path.read_text() and path.name != "_time_limit.py"
    ]
    assert found == []
