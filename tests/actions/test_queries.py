"""Gets and cancels (contract, section 6)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agentserver import (
    ActionContext,
    InvocationActionHandler,
    InvocationError,
)
from tests.actions.agents import Agent, Counter, Payload, Point, chunk, error, still_serves
from tests.actions.conversation import talking_to


class Store(Agent):
    """Answers gets, and cancels in its own way."""

    async def get_invocation(self, context: ActionContext) -> Any:
        if context.invocation_id == "lost":
            raise InvocationError("gone", "That one is gone")
        return Point(len(context.invocation_id))

    async def cancel_invocation(self, context: ActionContext) -> Any:
        return {"stopped": await context.cancel(), "session": context.session_id}


async def test_get_and_cancel_are_answered_without_a_session_id() -> None:
    async with talking_to(Store) as conversation:
        await conversation.act("get_invocation", "abc")
        assert await conversation.frame() == {"type": "result", "invocation_id": "abc", "payload": {"x": 3}}
        await conversation.act("get_invocation", "lost")
        assert await conversation.error() == {
            "invocation_id": "lost",
            "code": "gone",
            "message": "That one is gone",
        }


async def test_get_is_not_found_unless_overridden() -> None:
    async with talking_to(Agent) as conversation:
        await conversation.act("get_invocation", "i")
        refusal = await conversation.error()
        assert (refusal["code"], refusal["invocation_id"]) == ("not_found", "i")
        await still_serves(conversation)


async def test_cancel_is_not_found_when_nothing_runs_under_the_id() -> None:
    async with talking_to(Agent) as conversation:
        await conversation.act("cancel_invocation", "i")
        assert (await conversation.error())["code"] == "not_found"
        await still_serves(conversation)


@pytest.mark.parametrize("chunks", [0, 2])
async def test_cancel_ends_the_invocation_with_an_error_and_is_answered_with_a_result(chunks: int) -> None:
    async with talking_to(Counter) as conversation:
        await conversation.invoke("i", "s", to=chunks, then="wait")
        assert await conversation.frames(chunks) == [chunk("i", number) for number in range(chunks)]
        await conversation.act("cancel_invocation", "i")
        assert await conversation.frames(2) == [
            error("i", "cancelled", "The invocation was cancelled"),
            {"type": "result", "invocation_id": "i", "payload": {"status": "cancelled"}},
        ]


async def test_a_stream_that_never_waits_can_be_cancelled() -> None:
    class Flood(InvocationActionHandler):
        async def invoke(self, payload: Payload, context: ActionContext) -> AsyncIterator[int]:
            number = 0
            while True:
                yield number
                number += 1

    async with talking_to(Flood) as conversation:
        await conversation.invoke("i", "s")
        await conversation.frames(10)
        await conversation.act("cancel_invocation", "i")
        frames = await conversation.until_end("i")
        assert frames[-1] == error("i", "cancelled", "The invocation was cancelled")
        numbers = [frame["payload"] for frame in frames[:-1]]
        assert numbers == list(range(10, 10 + len(numbers)))


async def test_an_invocation_that_will_not_be_cancelled_still_ends_as_cancelled() -> None:
    class Stubborn(InvocationActionHandler):
        async def invoke(self, payload: Payload, context: ActionContext) -> Any:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return "finished anyway"

    async with talking_to(Stubborn) as conversation:
        await conversation.invoke("i", "s")
        await conversation.act("cancel_invocation", "i")
        assert [frame["type"] for frame in await conversation.frames(2)] == ["error", "result"]


async def test_a_second_cancel_does_not_disturb_the_cleaning_up_of_the_first() -> None:
    cleaned = asyncio.Event()
    may_end = asyncio.Event()

    class Tidy(InvocationActionHandler):
        async def invoke(self, payload: Payload, context: ActionContext) -> Any:
            try:
                await asyncio.Event().wait()
            finally:
                await may_end.wait()
                cleaned.set()

        async def get_invocation(self, context: ActionContext) -> Any:
            may_end.set()

    async with talking_to(Tidy) as conversation:
        await conversation.invoke("i", "s")
        await conversation.act("cancel_invocation", "i")
        await conversation.act("cancel_invocation", "i")
        await conversation.act("get_invocation", "i")
        frames = await conversation.frames(4)
        assert frames[0] == error("i", "cancelled", "The invocation was cancelled")
        assert [frame["payload"] for frame in frames[1:]] == [
            {"status": "cancelled"},
            {"status": "cancelled"},
            None,
        ]
        assert cleaned.is_set()


async def test_a_handler_may_cancel_in_its_own_way() -> None:
    async with talking_to(Store) as conversation:
        await conversation.invoke("i", "s", wait=True)
        await conversation.act("cancel_invocation", "i")
        assert await conversation.frames(2) == [
            error("i", "cancelled", "The invocation was cancelled"),
            {"type": "result", "invocation_id": "i", "payload": {"stopped": True, "session": "s"}},
        ]
        await conversation.act("cancel_invocation", "i")
        assert (await conversation.frame())["payload"]["stopped"] is False


async def test_answers_about_one_id_come_in_the_order_of_the_questions() -> None:
    class Slowest(Agent):
        def __init__(self) -> None:
            self.left = 3

        async def get_invocation(self, context: ActionContext) -> Any:
            self.left -= 1
            mine = self.left
            for _ in range(mine * 5):
                await asyncio.sleep(0)
            return mine

    async with talking_to(Slowest) as conversation:
        for _ in range(3):
            await conversation.act("get_invocation", "i")
        assert [frame["payload"] for frame in await conversation.frames(3)] == [2, 1, 0]
