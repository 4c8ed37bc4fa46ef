"""Mistakes that Python lets pass are said in one sentence, with the names of the handler and the method."""

from __future__ import annotations

import functools
import logging
from typing import Any

import pytest
from aiohttp import web

from agentserver import AgentHostBuilder, InvocationContext, InvocationHandler, InvocationWebSocketHandler
from agentserver.errors import HandlerError
from agentserver.testing import in_process


class Good(InvocationHandler):
    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        return "good"


class Misspelt(Good):
    async def cancell(self, invocation_id: str, request: web.Request, context: InvocationContext) -> Any:
        return "never"

    async def get_open_api(self, request: web.Request) -> Any:
        return {}

    async def getAsyncapiJson(self, request: web.Request) -> Any:  # noqa: N802 - the mistake
        return {}


class Inherits(Misspelt):
    pass


NEVER = (
    "is never called by the server: if it is meant to be {}, name it so; if it is a helper, begin its name"
)


@pytest.mark.parametrize("handler", [Misspelt, Inherits, Inherits()])
def test_a_method_that_is_nearly_an_operation_is_warned_of_at_start_up(
    handler: Any, caplog: pytest.LogCaptureFixture
) -> None:
    AgentHostBuilder().add_invocations(handler)
    name = (handler if isinstance(handler, type) else type(handler)).__name__
    expected = [
        ("cancell", "cancel"),
        ("getAsyncapiJson", "get_asyncapi_json"),
        ("get_open_api", "get_openapi"),
    ]
    assert [record.getMessage() for record in caplog.records] == [
        f"{name}.{wrong} {NEVER.format(meant)} with an underscore" for wrong, meant in expected
    ]


class Helpful(Good):
    cancelling = "an attribute"

    async def get(self, invocation_id: str, request: web.Request, context: InvocationContext) -> Any:
        return await self.gets(invocation_id)

    async def gets(self, invocation_id: str) -> str:
        return invocation_id

    async def handler(self) -> None: ...

    async def handle_text(self, request: web.Request) -> None: ...

    async def set(self, name: str) -> None: ...

    async def cancel_all(self) -> None: ...

    async def on_cancel(self) -> None: ...

    async def get_answer(self) -> None: ...

    async def _cancell(self) -> None: ...


def test_helper_methods_of_ones_own_are_nobodys_business(caplog: pytest.LogCaptureFixture) -> None:
    AgentHostBuilder().add_invocations(Helpful)
    assert not caplog.records


class Handel(InvocationHandler):
    async def handel(self, request: web.Request, context: InvocationContext) -> Any:
        return "never"


class OnSocket(InvocationWebSocketHandler):
    async def handle_web_socket(
        self, websocket: web.WebSocketResponse, context: InvocationContext
    ) -> None: ...


@pytest.mark.parametrize(
    ("handler", "sentence"),
    [
        (
            Handel,
            "Handel does not say what to do: write 'async def handle(self, request, context)',"
            " if that is what handel is meant to be",
        ),
        (
            OnSocket,
            "OnSocket does not say what to do: write 'async def handle_websocket(self, websocket, context)',"
            " if that is what handle_web_socket is meant to be",
        ),
    ],
)
def test_a_class_that_lacks_its_method_is_told_which_one_may_be_meant(handler: Any, sentence: str) -> None:
    with pytest.raises(HandlerError) as caught:
        AgentHostBuilder().add_invocations(handler)
    assert str(caught.value) == sentence


def _around(inner: Any, _: int) -> Any:
    return [inner]


class Unsendable(InvocationHandler):
    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        looped: list[Any] = []
        looped.append(looped)
        return {
            "set": {"a": {1}},
            "key": {("a", "b"): 1},
            "nan": float("nan"),
            "loop": looped,
            "deep": functools.reduce(_around, range(100_000), 0),
        }[await request.text()]

    async def get(self, invocation_id: str, request: web.Request, context: InvocationContext) -> Any:
        return object()


@pytest.mark.parametrize(
    ("method", "path", "word", "sentence"),
    [
        (
            "POST",
            "",
            "set",
            "Unsendable.handle returned what JSON cannot carry (there is no JSON for set): return",
        ),
        ("POST", "", "key", "Unsendable.handle returned what JSON cannot carry (keys must be "),
        ("POST", "", "nan", "Unsendable.handle returned what JSON cannot carry (Out of range float values"),
        (
            "POST",
            "",
            "loop",
            "Unsendable.handle returned what JSON cannot carry (Circular reference detected)",
        ),
        ("POST", "", "deep", "Unsendable.handle returned what JSON cannot carry ("),
        ("GET", "/an-id", "", "Unsendable.get returned what JSON cannot carry (there is no JSON for object)"),
    ],
)
async def test_what_json_cannot_carry_is_named_with_handler_and_method(
    method: str, path: str, word: str, sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        in_process(Unsendable) as agent,
        agent.http.request(method, f"/invocations{path}", data=word) as response,
    ):
        assert response.status == 500
        assert (await response.json())["error"]["code"] == "internal_error"
    assert sentence in caplog.text


class Forgets(InvocationHandler):
    async def handle(self, request: web.Request, context: InvocationContext) -> Any:  # noqa: RET503 - the mistake
        def inner() -> None:
            return None

        if await request.text() == "value":
            return "value"
        inner()

    async def get(self, invocation_id: str, request: web.Request, context: InvocationContext) -> Any:
        if invocation_id == "known":
            return {"status": "done"}
        return None

    async def cancel(self, invocation_id: str, request: web.Request, context: InvocationContext) -> Any:
        def inner() -> str:
            return "only of the inner one"

        inner()


async def test_none_from_a_method_that_returns_a_value_elsewhere_is_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    async with in_process(Forgets) as agent:
        for _ in range(2):
            async with agent.http.post("/invocations", data="other") as response:
                assert (response.status, await response.text()) == (200, "null")
    assert [record.getMessage() for record in caplog.records] == [
        "Forgets.handle ended without a result, so the client is answered null, and it returns a value"
        " elsewhere: write the missing return, or 'return None' if null is meant"
    ]


async def test_none_that_is_meant_is_null_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with in_process(Forgets) as agent:
        async with agent.http.get("/invocations/other") as response:
            assert await response.text() == "null"
        async with agent.http.post("/invocations/other/cancel") as response:
            assert await response.text() == "null"
    assert not caplog.records
