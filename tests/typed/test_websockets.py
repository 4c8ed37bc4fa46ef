"""A WebSocket whose messages are objects."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, Literal

import aiohttp
import pytest

from agentserver import InvocationContext, InvocationWebSocketHandler, StartupError, TypedWebSocket
from agentserver.invocations._handler_definition import define
from agentserver.testing import in_process


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


def test_messages_that_nothing_tells_apart_are_refused_at_start_up() -> None:
    class Untagged(InvocationWebSocketHandler[Text | dict[str, int], Text]):
        async def handle_websocket(self, websocket: Any, context: InvocationContext) -> None:
            return

    with pytest.raises(StartupError, match="Untagged takes Text"):
        define(Untagged)
