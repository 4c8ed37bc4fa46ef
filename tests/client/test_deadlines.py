"""No peer holds a caller longer than the caller said: neither one that drips, nor one that does not read."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from agentserver.client import (
    ActionsConnection,
    Connection,
    ConnectionClosedError,
    DeadlineError,
    InvocationsClient,
    Retry,
    Timeouts,
)
from tests.client.peers import drip, raw_peer, read_frame, read_head, upgrade

BIG = "x" * 20_000_000
"""More than the buffers on a loopback connection take."""
LONG = 10.0
"""Seconds within which whatever is bounded here has ended, on the slowest machine."""

Operation = Callable[[InvocationsClient], Awaitable[object]]


@asynccontextmanager
async def within(seconds: float = LONG) -> AsyncGenerator[None, None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


async def endless_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_head(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    await drip(writer, b"x")


async def endless_error(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_head(reader)
    writer.write(b"HTTP/1.1 500 Oops\r\nContent-Length: 60000\r\n\r\n")
    await drip(writer, b"x")


async def _invoke(client: InvocationsClient) -> object:
    return await client.invoke("x", timeout=0.3)


async def _get(client: InvocationsClient) -> object:
    return await client.get("i", timeout=0.3)


async def _stream(client: InvocationsClient) -> object:
    async with client.stream("x"):
        return None


async def _connect(client: InvocationsClient) -> object:
    async with client.connect():
        return None


@pytest.mark.parametrize("operation", [_invoke, _get, _stream, _connect])
@pytest.mark.parametrize("peer", [endless_headers, endless_error])
async def test_an_answer_that_drips_ends_at_the_time_out(
    operation: Operation, peer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
) -> None:
    timeouts = Timeouts(connect=0.3, answer=0.3, idle=60)
    async with raw_peer(peer) as url, InvocationsClient(url, timeouts=timeouts) as client, within():
        with pytest.raises(DeadlineError):
            await operation(client)


async def test_a_body_that_the_server_does_not_read_ends_at_the_time_out() -> None:
    async def deaf(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with raw_peer(deaf) as url, within():
        async with InvocationsClient(url, timeouts=Timeouts(answer=0.3, close=0.3)) as client:
            for call in (client.invoke(BIG), client.stream(BIG).__aenter__()):
                with pytest.raises(DeadlineError):
                    await call


async def test_closing_the_client_does_not_wait_for_a_server_that_does_not_read() -> None:
    async def deaf(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with raw_peer(deaf) as url, within():
        async with InvocationsClient(url, timeouts=Timeouts(close=0.3)) as client:
            call = asyncio.create_task(client.invoke(BIG, timeout=3))
            await asyncio.sleep(0.2)
        assert not call.done()
        with pytest.raises(DeadlineError):
            await call


async def test_a_token_that_takes_its_time_is_part_of_the_time_out_of_a_call() -> None:
    async def slow() -> str:
        await asyncio.sleep(60)
        return "token"

    async with InvocationsClient(credential=slow) as client, within():
        calls = [client.invoke("x", timeout=0.2) for _ in range(3)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [DeadlineError] * 3


# --- WebSockets whose peer does not read


@asynccontextmanager
async def deaf_peer() -> AsyncGenerator[str, None]:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await upgrade(reader, writer)
        await asyncio.Event().wait()

    async with raw_peer(deaf) as url:
        yield url


@asynccontextmanager
async def connection_to_a_deaf_peer(**timeouts: float) -> AsyncGenerator[Connection, None]:
    async with deaf_peer() as url, InvocationsClient(url, timeouts=Timeouts(**timeouts)) as client:
        async with client.connect(heartbeat=None) as connection:
            yield connection


@asynccontextmanager
async def actions_with_a_deaf_peer(**timeouts: float) -> AsyncGenerator[ActionsConnection, None]:
    async with deaf_peer() as url, InvocationsClient(url, timeouts=Timeouts(**timeouts)) as client:
        async with client.actions(heartbeat=None) as actions:
            yield actions


async def test_a_message_that_the_peer_does_not_take_ends_the_connection() -> None:
    async with within(), connection_to_a_deaf_peer(idle=0.3, close=0.3) as connection:
        with pytest.raises(ConnectionClosedError) as caught:
            await connection.send(BIG)
        assert caught.value.code == 1006
        with pytest.raises(ConnectionClosedError):
            await connection.receive(5)


async def test_closing_does_not_wait_for_a_peer_that_does_not_read() -> None:
    async with within(), connection_to_a_deaf_peer(close=0.3) as connection:
        sending = asyncio.create_task(connection.send(BIG))
        await asyncio.sleep(0.1)
        await connection.close()
        assert connection.close_code == 1006
        with pytest.raises(ConnectionClosedError):
            await sending


async def test_closing_does_not_wait_for_a_peer_that_goes_on_sending() -> None:
    async def chatty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await upgrade(reader, writer)
        await drip(writer, b"\x81\x01x")

    async with raw_peer(chatty) as url, within():
        async with InvocationsClient(url, timeouts=Timeouts(close=0.3)) as client:
            async with client.connect() as connection:
                pass
    assert connection.close_code == 1006


async def test_who_gives_up_a_message_takes_neither_it_nor_those_of_others_back() -> None:
    received: asyncio.Queue[str] = asyncio.Queue()
    reading = asyncio.Event()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await upgrade(reader, writer)
        await reading.wait()
        while True:
            received.put_nowait((await read_frame(reader))[:1].decode())

    async with raw_peer(late) as url, within(20):
        client = InvocationsClient(url, timeouts=Timeouts(close=0.3))
        async with client, client.connect(heartbeat=None) as connection:
            first, other = (asyncio.create_task(connection.send(word + BIG[1:])) for word in "ab")
            await asyncio.sleep(0.2)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(connection.send("c"), 0.05)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            await asyncio.sleep(0.05)
            assert not other.done()
            reading.set()
            await other
            await connection.send("d")
            assert [await received.get() for _ in range(4)] == ["a", "b", "c", "d"]


async def test_a_peer_that_sends_but_does_not_read_is_waited_for_and_then_cut_off() -> None:
    async def chatty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await upgrade(reader, writer)
        await drip(writer, b"\x8a\x00")

    async with (
        raw_peer(chatty) as url,
        InvocationsClient(url, timeouts=Timeouts(idle=1, close=0.3)) as client,
    ):
        async with within(), client.connect(heartbeat=0.1) as connection:
            started = time.monotonic()
            messages = [connection.send(BIG), connection.send("x" * 100_000), connection.send("x")]
            outcomes = await asyncio.gather(*messages, return_exceptions=True)
            assert time.monotonic() - started > 0.9
    assert [getattr(outcome, "code", outcome) for outcome in outcomes] == [1006] * 3


async def test_a_ping_to_a_peer_that_does_not_read_ends_at_its_time_out() -> None:
    async with within(), connection_to_a_deaf_peer(close=0.3) as connection:
        sending = asyncio.create_task(connection.send(BIG))
        await asyncio.sleep(0.1)
        for _ in range(3):
            with pytest.raises(DeadlineError):
                await connection.ping(timeout=0.1)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def test_the_heartbeat_ends_a_message_that_the_peer_does_not_take() -> None:
    async with deaf_peer() as url, InvocationsClient(url, timeouts=Timeouts(close=0.3)) as client, within():
        async with client.connect(heartbeat=0.2) as connection:
            with pytest.raises(ConnectionClosedError) as caught:
                await connection.send(BIG)
    assert caught.value.code == 1006


async def test_an_action_towards_a_peer_that_does_not_read_ends_at_its_time_out() -> None:
    async with within(), actions_with_a_deaf_peer(close=0.3) as actions:
        with pytest.raises(DeadlineError) as caught:
            await actions.invoke({"text": BIG}, invocation_id="i-1", timeout=0.3)
        assert caught.value.invocation_id == "i-1"
        for call in (actions.invoke({"text": BIG}, timeout=0.2), actions.get("i-1", timeout=0.2)):
            with pytest.raises(DeadlineError):
                await call
        with pytest.raises(DeadlineError):
            await actions.cancel("i-1", timeout=0.2)
        with pytest.raises(DeadlineError):
            await actions.ping(0.2)


async def test_when_the_peer_is_cut_off_every_action_ends_and_no_error_is_left_over() -> None:
    left_over: list[dict[str, object]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: left_over.append(context))
    async with within(), actions_with_a_deaf_peer(idle=0.5, close=0.3) as actions:
        calls = [actions.invoke({"text": BIG}), actions.get(BIG[:200]), actions.cancel("i"), actions.ping(5)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [getattr(outcome, "code", None) for outcome in outcomes] == [1006] * 4
    del calls, outcomes
    gc.collect()
    assert left_over == []


async def test_entering_a_stream_of_actions_ends_at_its_idle_time_out() -> None:
    async with within(), actions_with_a_deaf_peer(close=0.3) as actions:
        with pytest.raises(DeadlineError):
            async with actions.stream({"text": BIG}, idle_timeout=0.3):
                pass


async def test_an_action_whose_connection_is_being_made_again_ends_at_its_time_out() -> None:
    connections = 0

    async def first_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        if connections == 1:
            await upgrade(reader, writer)
            return
        await read_head(reader)
        await asyncio.Event().wait()

    async with raw_peer(first_only) as url, InvocationsClient(url) as client, within(5):
        async with client.actions(reconnect=Retry(first_delay=0)) as actions:
            assert (await actions.closed()).code == 1006
            for call in (actions.invoke({}, timeout=0.2), actions.get("i", timeout=0.2), actions.ping(0.2)):
                with pytest.raises(DeadlineError):
                    await call
