"""What one handler sets in its context reaches no other connection, and none of its own one's timers."""

from __future__ import annotations

import asyncio
import logging
from contextvars import ContextVar

import pytest
from aiohttp import web

from agentserver import InvocationContext
from agentserver._telemetry.correlation import correlation
from agentserver._websocket.connection import WebSocketConnection
from tests.servers import DEADLINE
from tests.websocket.talking import dialled, talking
from tests.websocket.wire import MIB, frame, hosting, on_both_loops

WHO: ContextVar[str] = ContextVar("who", default="nobody")


class Wire(asyncio.Transport):
    """Notes who is in the context in which it is used."""

    def __init__(self) -> None:
        super().__init__()
        self.users: dict[str, str] = {}
        self.aborted = asyncio.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.users[f"write {data[0] & 15}"] = WHO.get()

    def pause_reading(self) -> None:
        self.users["pause"] = WHO.get()

    def resume_reading(self) -> None:
        self.users["resume"] = WHO.get()

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        self.users["abort"] = WHO.get()
        self.aborted.set()


@on_both_loops
async def test_pings_time_outs_and_the_reading_are_the_connection_s_and_not_the_handler_s() -> None:
    WHO.set("the connection")
    wire = Wire()
    connection = WebSocketConnection(wire, max_size=MIB, close_timeout=0.03, ping_interval=0.01)

    async def handler() -> None:
        WHO.set("the handler")
        connection.accepted()
        while "write 9" not in wire.users:
            await asyncio.sleep(0.005)
            connection.received_since_ping = True
        for _ in range(2):
            connection.data_received(frame(0x82, bytes(60_000)))
        assert wire.users["pause"] == "the handler"
        for _ in range(2):
            await connection.receive()
        connection.close(1000)

    await asyncio.wait_for(asyncio.create_task(handler()), DEADLINE)
    await asyncio.wait_for(wire.aborted.wait(), DEADLINE)
    own = {name: wire.users[name] for name in ("write 9", "resume", "abort")}
    assert set(own.values()) == {"the connection"}
    connection.connection_lost(None)


@on_both_loops
async def test_a_handler_sees_nothing_of_what_another_connection_s_has_set() -> None:
    seen: list[str] = []

    async def talk(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        seen.append(WHO.get())
        WHO.set(context.invocation_id)
        async for message in websocket:
            await websocket.send_str(message.data)
        seen.append(WHO.get())

    async with hosting(talk) as dial:
        first, second = await dial(), await dial()
        for client in (first, second, first):
            client.send(frame(0x81, b"x"))
            await client.read(3)
        third = await dial()
        for client in (first, second, third):
            client.send(frame(0x88, b"\x03\xe8"))
            await client.rest()
    assert seen.count("nobody") == 3
    assert len(set(seen)) == 4


async def test_the_warning_about_a_large_message_carries_the_ids_of_its_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    carried: list[dict[str, str]] = []

    class Note(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            if record.levelno == logging.WARNING:
                carried.append(dict(correlation()))
            return True

    contexts: list[InvocationContext] = []

    async def talk(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        contexts.append(context)
        async for _ in websocket:
            pass

    note = Note()
    logging.getLogger("agentserver").addFilter(note)
    try:
        async with talking(talk) as url:
            for _ in range(2):
                async with dialled(url) as client:
                    await client.send(bytes(MIB + 1))
    finally:
        logging.getLogger("agentserver").removeFilter(note)
    assert [ids["invocation_id"] for ids in carried] == [context.invocation_id for context in contexts]
    assert len(contexts) == 2
