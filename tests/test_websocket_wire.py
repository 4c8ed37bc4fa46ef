"""What goes over the wire of ``invocations_ws``, byte by byte, and what is left when it is over."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import os
import struct
import tracemalloc
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Protocol, cast

import pytest
from aiohttp import web

from agentserver import AgentHost, FoundryEnvironment, InvocationContext, InvocationsServerOptions
from tests.servers import DEADLINE
from tests.test_websocket import Talk, Talking, echo, event

UPGRADE = (
    b"GET /invocations_ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
MASK = b"\x11\x22\x33\x44"
MIB = 1 << 20


def frame(first: int, payload: bytes = b"", *, masked: bool = True) -> bytes:
    """A client's frame; *first* is its first byte, FIN and reserved bits included."""
    size = len(payload)
    if size < 126:
        length = bytes((size,))
    else:
        length = b"\x7e" + struct.pack("!H", size) if size <= 0xFFFF else b"\x7f" + struct.pack("!Q", size)
    if not masked:
        return bytes((first,)) + length + payload
    body = bytes(byte ^ MASK[index & 3] for index, byte in enumerate(payload))
    return bytes((first, length[0] | 0x80)) + length[1:] + MASK + body


def zeros(first: int, size: int) -> bytes:
    """A large frame of zero bytes, made faster."""
    return bytes((first, 0xFF)) + struct.pack("!Q", size) + bytes(4) + bytes(size)


def close(code: int, reason: str = "") -> bytes:
    """A server's close frame."""
    payload = struct.pack("!H", code) + reason.encode()
    return bytes((0x88, len(payload))) + payload


class RawClient:
    """A client that sends and reads bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))

    async def read(self, size: int) -> bytes:
        return await asyncio.wait_for(self.reader.readexactly(size), DEADLINE)

    async def rest(self) -> bytes:
        """All until the server closes; a reset raises."""
        return await asyncio.wait_for(self.reader.read(), DEADLINE)

    @property
    def transport(self) -> asyncio.Transport:
        return cast("asyncio.Transport", self.writer.transport)

    def reset(self) -> None:
        self.transport.abort()


class Dial(Protocol):
    """Opens a connection; *behind* is sent in one go with the request for the upgrade."""

    async def __call__(self, behind: bytes = b"") -> RawClient: ...


@asynccontextmanager
async def hosting(
    talk: Talk = echo,
    options: InvocationsServerOptions | None = None,
    environment: dict[str, str] | None = None,
) -> AsyncGenerator[Dial, None]:
    """A function that opens raw connections to a host whose handler talks as *talk* says."""
    builder = AgentHost.create_builder(FoundryEnvironment.read(environment or {}))
    builder.add_invocations(Talking(talk), options=options)
    builder.configure(host="127.0.0.1", port=0, shutdown_timeout=1.0)
    clients = weakref.WeakSet[RawClient]()

    async with builder.build() as host:

        async def dial(behind: bytes = b"") -> RawClient:
            reader, writer = await asyncio.open_connection("127.0.0.1", host.port, limit=64 * MIB)
            client = RawClient(reader, writer)
            clients.add(client)
            client.send(UPGRADE, behind)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE)
            assert head.startswith(b"HTTP/1.1 101 ")
            return client

        try:
            yield dial
        finally:
            for client in clients:
                client.writer.close()


def on_both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run *test* on asyncio's loop and on uvloop, as servers do."""

    def run(loop: str, **arguments: Any) -> None:
        module = asyncio if loop == "asyncio" else pytest.importorskip(loop)
        runner = module.new_event_loop()
        try:
            runner.run_until_complete(test(**arguments))
            runner.run_until_complete(runner.shutdown_asyncgens())
        finally:
            runner.close()

    own = inspect.signature(test).parameters.values()
    loop = inspect.Parameter("loop", inspect.Parameter.KEYWORD_ONLY)
    run.__signature__ = inspect.Signature([*own, loop])  # type: ignore[attr-defined]  # pytest reads it
    run.__name__, run.__doc__ = test.__name__, test.__doc__
    run.pytestmark = [  # type: ignore[attr-defined]  # as pytest's own decorators do
        *getattr(test, "pytestmark", []),
        pytest.mark.parametrize("loop", ["asyncio", "uvloop"]).mark,
    ]
    return run


@pytest.fixture(autouse=True)
def _info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "agentserver")


# --- protocol errors

UNMASKED = "a client's frames must be masked"
RESERVED = "a reserved bit is set"
CONTROL = "a control frame must be whole and without reserved bits"
TOO_LONG = "a control frame has at most 125 bytes"
UNFINISHED = "a message must be finished before the next"
BAD_CLOSE = "a close frame must have a valid code"
BAD_TEXT = "not valid UTF-8"

BROKEN = {
    "unmasked": (frame(0x81, b"x", masked=False), 1002, UNMASKED),
    "reserved bits": (frame(0xF1, b"x"), 1002, RESERVED),
    "compressed although that was not negotiated": (frame(0xC1, b"x"), 1002, RESERVED),
    "unknown data opcode": (frame(0x83, b"x"), 1002, "unknown opcode 3"),
    "unknown control opcode": (frame(0x8B, b"x"), 1002, "unknown opcode 11"),
    "continuation of nothing": (frame(0x80, b"x"), 1002, "nothing to continue"),
    "message within a message": (frame(0x01, b"x") + frame(0x81, b"y"), 1002, UNFINISHED),
    "message within an empty beginning": (frame(0x01) + frame(0x81, b"y"), 1002, UNFINISHED),
    "fragmented ping": (frame(0x09, b"x"), 1002, CONTROL),
    "ping with a reserved bit": (frame(0xC9, b"x"), 1002, CONTROL),
    "long ping": (frame(0x89, b"x" * 126), 1002, TOO_LONG),
    "close of one byte": (frame(0x88, b"\x03"), 1002, BAD_CLOSE),
    "close with 1005": (frame(0x88, struct.pack("!H", 1005)), 1002, BAD_CLOSE),
    "close with 1006": (frame(0x88, struct.pack("!H", 1006)), 1002, BAD_CLOSE),
    "close with 1015": (frame(0x88, struct.pack("!H", 1015)), 1002, BAD_CLOSE),
    "close with 2999": (frame(0x88, struct.pack("!H", 2999)), 1002, BAD_CLOSE),
    "close with 5000": (frame(0x88, struct.pack("!H", 5000)), 1002, BAD_CLOSE),
    "close with a broken reason": (frame(0x88, b"\x03\xe8\xff\xff"), 1007, BAD_TEXT),
    "broken text": (frame(0x81, b"\xff\xfe\xfd"), 1007, BAD_TEXT),
    "text cut within a character": (frame(0x81, "é".encode()[:1]), 1007, BAD_TEXT),
    "broken text at the end of the message": (frame(0x01, b"ok") + frame(0x80, b"\xc3"), 1007, BAD_TEXT),
    "broken text before the end of the message": (frame(0x01, b"\xff"), 1007, BAD_TEXT),
    "too big": (
        b"\x82\xff" + struct.pack("!Q", 16 * MIB + 1) + MASK,
        1009,
        f"a message may have at most {16 * MIB} bytes",
    ),
    "absurdly big": (b"\x82\xff" + b"\xff" * 8 + MASK, 1009, f"a message may have at most {16 * MIB} bytes"),
}


@on_both_loops
@pytest.mark.parametrize(("sent", "code", "reason"), BROKEN.values(), ids=BROKEN)
async def test_a_broken_frame_is_answered_with_its_code_and_then_the_end_of_the_stream(
    sent: bytes, code: int, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with hosting() as dial:
        client = await dial()
        client.send(sent)
        assert await client.rest() == close(code, reason)
        client.writer.close()
        closed = await event(caplog)
    assert (closed["close_code"], "error.code" in closed) == (code, False)


@on_both_loops
async def test_a_client_that_goes_on_sending_after_its_error_still_sees_the_code() -> None:
    async with hosting(options=InvocationsServerOptions(websocket_max_message_size=1000)) as dial:
        client = await dial()
        client.send(zeros(0x82, 5 * MIB))
        assert await client.rest() == close(1009, "a message may have at most 1000 bytes")


@on_both_loops
async def test_messages_before_a_broken_frame_are_replied_to_first() -> None:
    async with hosting() as dial:
        client = await dial()
        client.send(frame(0x81, b"a"), frame(0x81, b"b"), frame(0x8B))
        assert await client.rest() == b"\x81\x01a\x81\x01b" + close(1002, "unknown opcode 11")


@on_both_loops
async def test_fragments_over_the_limit_in_sum_are_too_big() -> None:
    async with hosting(options=InvocationsServerOptions(websocket_max_message_size=10)) as dial:
        client = await dial()
        client.send(frame(0x02, b"12345"), frame(0x00, b"67890"), frame(0x80, b"1"))
        assert await client.rest() == close(1009, "a message may have at most 10 bytes")


# --- messages


@on_both_loops
async def test_frames_sent_behind_the_request_for_the_upgrade_are_read() -> None:
    async with hosting() as dial:
        client = await dial(frame(0x81, b"early") + frame(0x88, struct.pack("!H", 4000)))
        assert await client.rest() == b"\x81\x05early" + close(4000)


@on_both_loops
async def test_a_large_frame_behind_the_request_for_the_upgrade_is_read() -> None:
    async with hosting() as dial:
        client = await dial(zeros(0x82, 2 * MIB)[: MIB // 2])
        client.send(zeros(0x82, 2 * MIB)[MIB // 2 :], frame(0x88))
        assert await client.rest() == b"\x82\x7f" + struct.pack("!Q", 2 * MIB) + bytes(2 * MIB) + b"\x88\x00"


@on_both_loops
async def test_frames_that_come_byte_by_byte_are_read() -> None:
    async with hosting() as dial:
        client = await dial()
        for byte in frame(0x01, b"a") + frame(0x89, b"p") + frame(0x80, b"b" * 126) + frame(0x88):
            client.send(bytes((byte,)))
            await asyncio.sleep(0)
        assert await client.rest() == b"\x8a\x01p" + b"\x81\x7e\x00\x7fa" + b"b" * 126 + b"\x88\x00"


@on_both_loops
@pytest.mark.parametrize("size", [125, 126, 65_535, 65_536, 300_000, 2 * MIB + 1])
async def test_a_message_of_any_size_comes_back_whole(size: int) -> None:
    payload = os.urandom(1000) * (size // 1000 + 1)
    payload = payload[:size]
    async with hosting() as dial:
        client = await dial()
        client.send(frame(0x82, payload), frame(0x88))
        answer = await client.rest()
    assert answer.endswith(payload + b"\x88\x00")
    assert len(answer) - size - 2 in {2, 4, 10}


@on_both_loops
async def test_a_ping_is_answered_while_the_handler_does_not_read() -> None:
    async def talk(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        await asyncio.Event().wait()

    async with hosting(talk) as dial:
        client = await dial()
        client.send(frame(0x81, b"unread"), frame(0x89, b"are you there?"))
        assert await client.read(16) == b"\x8a\x0eare you there?"
        client.reset()


# --- the end


@on_both_loops
async def test_a_close_without_a_code_is_answered_with_one_and_reported_as_1005(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with hosting() as dial:
        client = await dial()
        client.send(frame(0x88))
        assert await client.rest() == b"\x88\x00"
        assert (await event(caplog))["close_code"] == 1005


@on_both_loops
async def test_a_client_that_ends_its_stream_without_a_close_gets_none_and_is_reported_as_1006(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with hosting() as dial:
        client = await dial()
        client.writer.write_eof()
        assert await client.rest() == b""
        assert (await event(caplog))["close_code"] == 1006


@on_both_loops
async def test_a_client_that_never_answers_a_close_is_cut_off_and_reported_as_1006(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def talk(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        assert await websocket.close(code=4000)

    async with hosting(talk, InvocationsServerOptions(websocket_close_timeout=0.1)) as dial:
        client = await dial()
        assert await client.rest() == close(4000)
        closed = await event(caplog)
    assert (closed["close_code"], "error.code" in closed) == (1006, False)
    assert closed["duration_ms"] > 95  # uvloop counts whole milliseconds


@on_both_loops
async def test_a_handler_that_holds_on_after_its_cancellation_reports_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def talk(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.05)
            async for _ in websocket:
                pass

    async with hosting(talk) as dial:
        client = await dial()
        client.reset()
        closed = await event(caplog)
    assert closed["close_code"] == 1006


# --- backpressure


@on_both_loops
async def test_a_client_that_does_not_read_stops_the_handlers_sends() -> None:
    sent = 0
    ended = asyncio.Event()

    async def talk(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        nonlocal sent
        for _ in range(400):
            await websocket.send_bytes(bytes(MIB // 4))
            sent += 1
        ended.set()

    async with hosting(talk) as dial:
        client = await dial()
        client.transport.pause_reading()
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.1)
        assert sent < 100
        client.transport.resume_reading()
        await client.read(400 * (MIB // 4 + 10))
        await asyncio.wait_for(ended.wait(), DEADLINE)


@on_both_loops
@pytest.mark.parametrize("size", [1000, MIB])
async def test_a_handler_that_does_not_read_stops_the_client_and_loses_nothing(size: int) -> None:
    total = max(100, 40 * MIB // (size + 100))
    begin = asyncio.Event()
    got: list[int] = []

    async def talk(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        await begin.wait()
        got.extend([len(message.data) async for message in websocket])

    async with hosting(talk) as dial:
        client = await dial()
        one = zeros(0x82, size) if size > 0xFFFF else frame(0x82, bytes(size))
        writer = asyncio.create_task(write_all(client, one, total))
        while not writer.done() and client.transport.get_write_buffer_size() == 0:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert not writer.done()
        begin.set()
        await asyncio.wait_for(writer, DEADLINE)
        client.send(frame(0x88))
        assert await client.rest() == b"\x88\x00"
    assert got == [size] * total


async def write_all(client: RawClient, one: bytes, times: int) -> None:
    batch = max(1, 65_536 // len(one))
    while times:
        count = min(batch, times)
        client.send(one * count)
        await client.writer.drain()
        times -= count


@on_both_loops
async def test_a_flood_of_pings_from_a_client_that_does_not_read_fills_no_memory() -> None:
    async with hosting() as dial:
        client = await dial()
        client.transport.pause_reading()
        tracemalloc.start()
        try:
            await write_all(client, frame(0x89, b"x" * 125), 40_000)
            await asyncio.sleep(0.1)
            grown, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert grown < 4 * MIB
        client.reset()


# --- nothing is left


@on_both_loops
async def test_connects_and_aborts_leave_no_task_no_socket_and_no_memory_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """300 by default; the figures for 10,000 in docs/conformance.md come from ``WS_LEAK_ROUNDS=10000``."""
    rounds = int(os.environ.get("WS_LEAK_ROUNDS", "300"))

    async def talk(websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        async for message in websocket:
            await websocket.send_str(message.data)

    async def one(number: int) -> None:
        client = await dial()
        client.send(frame(0x81, b"hello"))
        if number % 2:
            await client.read(7)
        client.reset()

    async with hosting(talk) as dial:
        caplog.set_level(logging.WARNING, "agentserver")  # pytest keeps every record
        for number in range(100):
            await one(number)
        await settled()
        first = counts()
        for number in range(rounds):
            await one(number)
        await settled()
        last = counts()
    print(f"\n{rounds} connects and aborts: {first} -> {last}")
    assert last["tasks"] <= first["tasks"]
    assert last["sockets"] <= first["sockets"]
    assert last["links"] <= first["links"]  # earlier tests of the run may have left some
    assert last["objects"] - first["objects"] < rounds // 2


async def settled() -> None:
    """Wait until the test's own task is the only one."""
    while len(asyncio.all_tasks()) > 1:
        await asyncio.sleep(0.01)


def counts() -> dict[str, int]:
    gc.collect()
    objects = gc.get_objects()
    return {
        "tasks": len(asyncio.all_tasks()),
        "sockets": sum(os.readlink(f"/proc/self/fd/{fd}").startswith("socket") for fd in _open_files()),
        "links": sum(type(thing).__name__ in {"Link", "WebSocket", "HostConnection"} for thing in objects),
        "objects": len(objects),
    }


def _open_files() -> list[str]:
    return [fd for fd in os.listdir("/proc/self/fd") if os.path.islink(f"/proc/self/fd/{fd}")]
