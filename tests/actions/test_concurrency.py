"""Invocations of one connection, side by side (contract, section 6)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from agentserver import (
    ActionContext,
    InvocationActionHandler,
)
from tests.actions.agents import Agent, Payload, chunk, end, error, still_serves
from tests.actions.conversation import Frame, talking_to


async def test_invocations_of_one_connection_run_side_by_side() -> None:
    class Meeting(InvocationActionHandler):
        def __init__(self) -> None:
            self.here = 0
            self.all_here = asyncio.Event()

        async def invoke(self, payload: Payload, context: ActionContext) -> AsyncIterator[str]:
            self.here += 1
            yield "waiting"
            if self.here == 3:
                self.all_here.set()
            await self.all_here.wait()
            yield "met"

    async with talking_to(Meeting) as conversation:
        for name in "abc":
            await conversation.invoke(name, "s")
        frames = await conversation.frames(9)
        for name in "abc":
            mine = [frame for frame in frames if frame["invocation_id"] == name]
            assert mine == [chunk(name, "waiting"), chunk(name, "met"), end(name)]


async def test_beyond_the_limit_an_invoke_is_refused_and_the_rest_go_on() -> None:
    class Two(Agent):
        max_concurrent_invocations = 2

    async with talking_to(Two) as conversation:
        await conversation.invoke("a", "s", wait=True)
        await conversation.invoke("b", "s", wait=True)
        await conversation.invoke("c", "s", wait=True)
        refusal = await conversation.error()
        assert (refusal["code"], refusal["invocation_id"], refusal["session_id"]) == (
            "too_many_requests",
            "c",
            "s",
        )
        await conversation.act("cancel_invocation", "a")
        assert (await conversation.frames(2))[0] == error("a", "cancelled", "The invocation was cancelled")
        await still_serves(conversation)


async def test_when_the_connection_ends_its_invocations_are_cancelled_and_awaited() -> None:
    began = asyncio.Semaphore(0)
    ended: list[str] = []
    over = asyncio.Event()

    class Worker(InvocationActionHandler):
        async def invoke(self, payload: Payload, context: ActionContext) -> AsyncIterator[Any]:
            try:
                began.release()
                yield "begun"
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                ended.append(context.invocation_id)

        async def handle_websocket(self, websocket: Any, context: Any) -> None:
            try:
                await super().handle_websocket(websocket, context)
            finally:
                ended.append("connection")
                over.set()

    async with talking_to(Worker) as conversation:
        await conversation.invoke("a", "s")
        await conversation.invoke("b", "s")
        await conversation.frames(2)
        await conversation.websocket.close()
        await asyncio.wait_for(over.wait(), 10)
    assert sorted(ended[:2]) == ["a", "b"]
    assert ended[2:] == ["connection"]


async def stalled(sent: Mapping[str, int]) -> None:
    before: Mapping[str, int] = {}
    while before != sent or not any(sent.values()):
        before = dict(sent)
        await asyncio.sleep(0.1)


async def test_a_slow_reader_slows_its_own_streams_and_nothing_else() -> None:
    sent: dict[str, int] = {}

    class Flood(InvocationActionHandler):
        async def invoke(self, payload: Payload, context: ActionContext) -> AsyncIterator[Any]:
            for number in range(payload["to"]):
                sent[context.invocation_id] = number
                yield "x" * 1000

    async with talking_to(Flood) as slow:
        async with talking_to(Flood) as other:
            await slow.invoke("slow", "s", to=1_000_000)
            await other.invoke("other", "s", to=2000)
            assert len(await other.until_end("other")) == 2001
        await stalled(sent)
        assert sent["slow"] < 50_000, "the stream ran ahead of a reader that reads nothing"
        await slow.act("cancel_invocation", "slow")
        frames = await slow.until_end("slow")
        assert frames[-1]["error"]["code"] == "cancelled"


@pytest.mark.parametrize("size", [100, 20_000])
async def test_streams_that_never_wait_take_turns(size: int) -> None:
    class Flood(InvocationActionHandler):
        async def invoke(self, payload: Payload, context: ActionContext) -> AsyncIterator[Any]:
            for _ in range(1000):
                yield "x" * size

    async with talking_to(Flood) as conversation:
        for name in "abc":
            await conversation.invoke(name, "s")
        frames = await conversation.frames(3 * 1001)
        first_end = next(i for i, frame in enumerate(frames) if frame["type"] == "stream_end")
        ahead = [frame["invocation_id"] for frame in frames[:first_end]]
        assert min(ahead.count(name) for name in "abc") > 500


async def test_a_cancel_while_the_reader_is_slow_leaves_the_other_streams_alone() -> None:
    sent = dict.fromkeys("abcd", 0)

    class Flood(InvocationActionHandler):
        async def invoke(self, payload: Payload, context: ActionContext) -> AsyncIterator[Any]:
            for number in range(payload["to"]):
                sent[context.invocation_id] = number
                yield [number, "x" * 10_000]

    async with talking_to(Flood) as conversation:
        for name in "abcd":
            await conversation.invoke(name, "s", to=1000)
        await stalled(sent)
        await conversation.act("cancel_invocation", "a")
        await conversation.act("cancel_invocation", "b")
        frames: list[Frame] = []
        while sum(frame["type"] in {"stream_end", "error"} for frame in frames) < 4:
            frames.append(await conversation.frame())
        for name in "abcd":
            mine = [f for f in frames if f["invocation_id"] == name and "session_id" in f]
            numbers = [frame["payload"][0] for frame in mine[:-1]]
            assert numbers == list(range(len(numbers)))
            assert mine[-1]["type"] == ("error" if name in "ab" else "stream_end")
            assert (len(numbers) == 1000) == (name in "cd")
