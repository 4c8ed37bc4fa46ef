"""What the methods of a WebSocket raise: their documented errors, whatever the peer does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from agentserver.client import (
    AnswerError,
    Connection,
    ConnectionClosedError,
    InvocationsClient,
    Retry,
    Timeouts,
)
from tests.client.peers import Peer, raw_peer, upgrade

TEXT = 0x81


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """A frame of a server, of up to 64 KiB."""
    size = len(payload)
    return bytes([opcode]) + (bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big")) + payload


def saying(*frames: bytes, then_cut: bool = False) -> Peer:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await upgrade(reader, writer)
        writer.writelines(frames)
        await writer.drain()
        if then_cut:
            writer.transport.abort()
        while await reader.read(65536):
            pass

    return say


@asynccontextmanager
async def connected(peer: Peer) -> AsyncGenerator[Connection, None]:
    async with raw_peer(peer) as url, InvocationsClient(url, timeouts=Timeouts(close=0.2)) as client:
        async with client.connect(heartbeat=None) as connection:
            yield connection


@pytest.mark.parametrize("text", [b"{", b"", b"[" * 60_000, b"9" * 5000])
async def test_a_message_that_is_no_json_is_an_answer_error_and_is_taken(text: bytes) -> None:
    async with connected(saying(frame(text), frame(b"7"))) as connection:
        with pytest.raises(AnswerError, match="the message cannot be read as JSON"):
            await connection.receive_json(5)
        assert await connection.receive_json(5) == 7


def nested() -> Any:
    value: Any = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize("value", [{1}, float("nan"), nested()], ids=range(3))
async def test_a_value_that_is_no_json_is_a_value_error(value: Any) -> None:
    async with connected(saying()) as connection:
        with pytest.raises(ValueError, match="the message cannot be sent as JSON"):
            await connection.send_json(value)


async def test_a_text_that_is_no_unicode_is_a_value_error() -> None:
    async with connected(saying()) as connection:
        with pytest.raises(ValueError, match="surrogates"):
            await connection.send("\ud800")


async def test_a_ping_ends_with_the_connection() -> None:
    async with connected(saying(frame(b"\x0f\xa1", 0x88))) as connection:
        with pytest.raises(ConnectionClosedError) as caught:
            await connection.ping(30)
    assert caught.value.code == 4001


async def test_a_ping_on_a_closed_connection_says_so() -> None:
    async with connected(saying()) as connection:
        await connection.close()
        with pytest.raises(ConnectionClosedError):
            await connection.ping(5)


async def test_pings_of_a_server_that_then_cuts_are_no_error_but_the_cut_is() -> None:
    pings = [frame(b"p" * 125, 0x89)] * 200
    async with connected(saying(*pings, then_cut=True)) as connection:
        with pytest.raises(ConnectionClosedError) as caught:
            await connection.receive(5)
    assert caught.value.code == 1006


async def test_an_aborted_connection_is_1006_at_once() -> None:
    async with connected(saying()) as connection:
        receiving = asyncio.create_task(connection.receive())
        await asyncio.sleep(0)
        connection.abort()
        with pytest.raises(ConnectionClosedError) as caught:
            await receiving
        assert caught.value.code == 1006
        with pytest.raises(ConnectionClosedError):
            await connection.send("x")


@pytest.mark.parametrize("heartbeat", [0, -1, float("nan")])
def test_a_heartbeat_that_is_none_is_refused(heartbeat: float) -> None:
    client = InvocationsClient()
    for make in (client.connect, client.actions):
        with pytest.raises(ValueError, match=r"the heartbeat is .*, but needs a number of seconds above 0"):
            make(heartbeat=heartbeat)


def test_a_negative_size_is_refused() -> None:
    client = InvocationsClient()
    for make in (client.connect, client.actions):
        with pytest.raises(ValueError, match="max_message_size is -1, but needs to be 0 or more bytes"):
            make(max_message_size=-1)


async def test_a_ping_needs_a_time_out_that_is_one() -> None:
    async with connected(saying()) as connection:
        with pytest.raises(ValueError, match="above 0"):
            await connection.ping(0)


async def test_a_close_without_a_code_is_1005_and_no_broken_connection() -> None:
    connections = 0

    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await saying(frame(b"", 0x88))(reader, writer)

    async with raw_peer(close) as url, InvocationsClient(url, timeouts=Timeouts(close=0.2)) as client:
        async with client.connect(reconnect=Retry(first_delay=0)) as connection:
            assert [message async for message in connection] == []
            with pytest.raises(ConnectionClosedError) as caught:
                await connection.receive(5)
    assert (connections, caught.value.code, connection.close_code) == (1, 1005, 1005)


async def test_our_close_that_is_answered_without_a_code_is_1005() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await upgrade(reader, writer)
        await reader.read(8)
        writer.write(frame(b"", 0x88))

    async with connected(answer) as connection:
        pass
    assert connection.close_code == 1005


async def test_a_ping_in_the_callback_of_a_reconnect_that_broke_again_ends_at_once() -> None:
    """And each broken connection gives its place among the client's connections back."""
    pings: list[int] = []

    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await upgrade(reader, writer)

    async def on_reconnect(connection: Connection) -> None:
        await asyncio.sleep(0.1)
        with suppress(ConnectionClosedError):
            await connection.send("x")  # so that the connection is seen to be gone
        with pytest.raises(ConnectionClosedError) as caught:
            await connection.ping(30)
        pings.append(caught.value.code)
        raise caught.value

    async with raw_peer(drop) as url, InvocationsClient(url, max_connections=2) as client:
        retry = Retry(attempts=4, first_delay=0)
        async with client.connect(reconnect=retry, on_reconnect=on_reconnect) as connection:
            with pytest.raises(ConnectionClosedError):
                await connection.receive(10)
    assert pings == [1006] * 4
