"""A WebSocket whose messages are objects."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeVar

import aiohttp
import pytest

from agentserver import InvocationContext, InvocationWebSocketHandler, StartupError, TypedWebSocket
from agentserver.invocations._handler_definition import define
from agentserver.testing import in_process

T = TypeVar("T")


@dataclass
class Hello:
    type: Literal["hello"]
    name: str


@dataclass
class Number:
    type: Literal["number"]
    value: int


@dataclass
class Text:
    text: str


class Talk(InvocationWebSocketHandler[Hello | Number, Text]):
    async def handle_websocket(
        self, websocket: TypedWebSocket[Hello | Number, Text], context: InvocationContext
    ) -> None:
        async for message in websocket:
            if isinstance(message, Hello):
                await websocket.send(Text(f"hello {message.name}"))
            elif message.value == 0:
                await websocket.send(Text(message.value))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # on purpose
            else:
                await websocket.close(code=4000 + message.value, reason="as asked")


BAD: Final[list[tuple[str | bytes, str, str]]] = [
    ("", "invalid_message", "$"),
    ("{", "invalid_json", "$"),
    ("SeCrEt", "invalid_json", "$"),
    ("[]", "invalid_message", "$"),
    ("null", "invalid_message", "$"),
    ("71077345", "invalid_message", "$"),
    ('"SeCrEt"', "invalid_message", "$"),
    ("{}", "invalid_message", "$.type"),
    ('{"type": "SeCrEt"}', "invalid_message", "$.type"),
    ('{"type": 71077345}', "invalid_message", "$.type"),
    ('{"type": null}', "invalid_message", "$.type"),
    ('{"type": []}', "invalid_message", "$.type"),
    ('{"type": "hello"}', "invalid_message", "$.name"),
    ('{"type": "hello", "name": 71077345}', "invalid_message", "$.name"),
    ('{"type": "hello", "name": null}', "invalid_message", "$.name"),
    ('{"type": "number"}', "invalid_message", "$.value"),
    ('{"type": "number", "value": "SeCrEt"}', "invalid_message", "$.value"),
    ('{"type": "number", "value": 1.5}', "invalid_message", "$.value"),
    (b'{"type": "hello", "name": "SeCrEt"}', "invalid_message", "$"),
    (b"\xff", "invalid_message", "$"),
]


async def test_a_bad_frame_gets_an_error_frame_and_the_next_good_one_an_answer() -> None:
    assert len(BAD) == 20
    async with in_process(Talk) as agent, agent.http.ws_connect("/invocations_ws") as socket:
        for frame, code, target in BAD:
            await (socket.send_str(frame) if isinstance(frame, str) else socket.send_bytes(frame))
            text: Any = (await socket.receive()).data
            assert "SeCrEt" not in text
            assert "71077345" not in text
            await socket.send_str('{"type": "hello", "name": "you"}')
            assert await socket.receive_json() == {"text": "hello you"}
            answer: Any = json.loads(text)
            assert answer["type"] == "error"
            assert (answer["error"]["code"], answer["error"]["target"]) == (code, target), frame
            await socket.send_json(answer["error"]["example"])
            assert await socket.receive_json() == {"text": "hello text"}


async def test_a_wrong_message_never_leaves_and_the_connection_closes_with_1011(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with in_process(Talk) as agent, agent.http.ws_connect("/invocations_ws") as socket:
        await socket.send_json({"type": "number", "value": 0})
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 1011


async def test_the_handler_may_close_with_a_code_of_its_own() -> None:
    async with in_process(Talk) as agent, agent.http.ws_connect("/invocations_ws") as socket:
        await socket.send_json({"type": "number", "value": 7})
        closed = await socket.receive()
        assert (closed.type, closed.data, closed.extra) == (aiohttp.WSMsgType.CLOSE, 4007, "as asked")


async def test_the_client_may_close() -> None:
    async with in_process(Talk) as agent, agent.http.ws_connect("/invocations_ws") as socket:
        await socket.close(code=1000)
        assert socket.close_code == 1000


class ByAnnotation(InvocationWebSocketHandler):
    async def handle_websocket(
        self, websocket: TypedWebSocket[Hello | Number, Text], context: InvocationContext
    ) -> None:
        async for _ in websocket:
            await websocket.send(Text("heard"))


async def test_the_annotation_of_the_websocket_is_enough() -> None:
    async with in_process(ByAnnotation) as agent, agent.http.ws_connect("/invocations_ws") as socket:
        await socket.send_json({"type": "hello"})
        assert (await socket.receive_json())["error"]["target"] == "$.name"
        await socket.send_json({"type": "hello", "name": "you"})
        assert await socket.receive_json() == {"text": "heard"}


class Generally(InvocationWebSocketHandler[T, Text], Generic[T]):
    async def handle_websocket(self, websocket: TypedWebSocket[T, Text], context: InvocationContext) -> None:
        return


class Concretely(Generally[Hello]):
    pass


class Anything(InvocationWebSocketHandler[Hello, Text]):
    async def handle_websocket(self, websocket: TypedWebSocket[Any, Any], context: InvocationContext) -> None:
        return


@pytest.mark.parametrize("handler", [Concretely, Anything])
def test_an_annotation_that_says_less_than_the_class_agrees_with_it(
    handler: type[InvocationWebSocketHandler],
) -> None:
    messages = define(handler).messages
    assert messages is not None
    assert messages.contract.read(b'{"type": "hello", "name": "x"}') == Hello("hello", "x")


class Disagreeing(InvocationWebSocketHandler[Hello, Text]):
    async def handle_websocket(
        self, websocket: TypedWebSocket[Number, Text], context: InvocationContext
    ) -> None:
        return


class Half(InvocationWebSocketHandler):
    async def handle_websocket(
        self,
        websocket: TypedWebSocket,  # type: ignore[type-arg]  # pyright: ignore[reportMissingTypeArgument, reportUnknownParameterType]  # on purpose
        context: InvocationContext,
    ) -> None:
        return


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (
            Disagreeing,
            "says Hello, Text in its base class and TypedWebSocket.Number, Text. in handle_websocket",
        ),
        (Half, "Half does not name both types of its WebSocket"),
    ],
)
def test_types_that_disagree_or_are_missing_are_refused_at_start_up(
    handler: type[InvocationWebSocketHandler], words: str
) -> None:
    with pytest.raises(StartupError, match=words):
        define(handler)


def test_messages_that_nothing_tells_apart_are_refused_at_start_up() -> None:
    class Untagged(InvocationWebSocketHandler[Text | dict[str, int], Text]):
        async def handle_websocket(self, websocket: Any, context: InvocationContext) -> None:
            return

    with pytest.raises(StartupError, match="Untagged takes Text"):
        define(Untagged)
