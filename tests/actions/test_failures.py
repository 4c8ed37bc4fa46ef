"""Actions that fail in every way: the client gets an error frame, and the connection and the process live."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, NoReturn

import pytest

from agentserver import ActionContext, InvocationActionHandler
from tests.actions.agents import Payload
from tests.actions.conversation import talking_to
from tests.websocket.test_failures import FAILURES

NAMES = {fail.__name__: fail for fail in FAILURES}


class Failing(InvocationActionHandler):
    """Fails as the payload says."""

    async def invoke(self, payload: Payload, context: ActionContext) -> Any:
        fail = NAMES.get(payload.get("fail", ""))
        if fail is None:
            return "fine"
        if payload["where"] == "at once":
            fail()
        return self.stream(fail, payload["where"])

    async def stream(self, fail: Callable[[], NoReturn], where: str) -> AsyncIterator[int]:
        try:
            if where == "at first":
                fail()
            yield 1
            if where == "then":
                fail()
            yield object()  # type: ignore[misc]  # no JSON: the stream is closed here
        finally:
            if where == "at the end":
                fail()

    async def get_invocation(self, context: ActionContext) -> Any:
        NAMES[context.invocation_id]()

    async def cancel_invocation(self, context: ActionContext) -> Any:
        NAMES[context.invocation_id]()


ERROR = {"code": "internal_error", "message": "Internal server error"}


@pytest.mark.parametrize("where", ["at once", "at first", "then", "at the end"])
@pytest.mark.parametrize("fail", NAMES)
async def test_an_invocation_that_raises_anything_at_all_ends_with_an_error_and_the_rest_goes_on(
    where: str, fail: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with talking_to(Failing) as conversation:
        await conversation.invoke("i", "s", fail=fail, where=where)
        last = (await conversation.until_end("i"))[-1]
        assert last == {"type": "error", "invocation_id": "i", "session_id": "s", "error": ERROR}
        await conversation.invoke("j", "s")
        assert (await conversation.frame())["payload"] == "fine"
    logged = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(logged) == 1
    assert logging.Formatter().format(logged[0])


@pytest.mark.parametrize("action", ["get_invocation", "cancel_invocation"])
@pytest.mark.parametrize("fail", NAMES)
async def test_a_get_or_cancel_that_raises_anything_at_all_is_answered_with_an_error(
    action: str, fail: str
) -> None:
    async with talking_to(Failing) as conversation:
        await conversation.act(action, fail)
        assert await conversation.frame() == {"type": "error", "invocation_id": fail, "error": ERROR}
        await conversation.invoke("j", "s")
        assert (await conversation.frame())["payload"] == "fine"
