"""The client and a real server process that is stopped, killed and started again under it."""

from __future__ import annotations

import asyncio
import time

import pytest

from agentserver.client import (
    NO_RETRY,
    Connection,
    ConnectionClosedError,
    LostConnectionError,
    Retry,
    UnreachableError,
)
from agentserver.testing import run_server
from tests.testing.agents import Adder, Counter, Parrot, Slow

PATIENT = Retry(attempts=100, first_delay=0.05, max_delay=0.2)


@pytest.mark.parametrize("cleanly", [True, False])
async def test_a_websocket_is_resumed_in_its_session_by_the_next_process(cleanly: bool) -> None:
    resumed: list[str | None] = []

    async def on_reconnect(connection: Connection) -> None:
        resumed.append(connection.session_id)
        await connection.send("I am back")

    async with run_server(Parrot) as server, server.client() as client:
        async with client.connect(reconnect=PATIENT, on_reconnect=on_reconnect) as connection:
            session_id = connection.session_id
            await connection.send("one")
            assert await connection.receive(10) == "one"
            receiving = asyncio.create_task(connection.receive(20))
            if cleanly:
                assert await server.stop() == 0
                await server.start()
            else:
                await server.restart()
            assert await receiving == "I am back"
    assert resumed == [session_id]


async def test_a_connection_that_nobody_reads_answers_pings_and_lets_the_server_end_at_once() -> None:
    async with run_server(Parrot, environment={"WS_KEEPALIVE_INTERVAL": "0.7"}) as server:
        async with server.client() as client, client.connect(heartbeat=None) as connection:
            await asyncio.sleep(2.2)  # several Pings, of which one without an answer would have ended it
            assert await connection.ping() < 10
            await connection.send("still here")
            assert await connection.receive(10) == "still here"
            started = time.monotonic()
            assert await server.stop() == 0
            assert time.monotonic() - started < 9
            with pytest.raises(ConnectionClosedError) as caught:
                await connection.receive(10)
    assert caught.value.code == 1001


async def test_actions_go_on_with_the_next_process() -> None:
    async with run_server(Adder) as server, server.client() as client:
        async with client.actions(reconnect=PATIENT) as actions:
            assert (await actions.invoke({"numbers": [1, 2]})).payload == [1, 3]
            waiting = actions.stream({"numbers": [1], "then": "wait"})
            async with waiting as stream:
                payloads = aiter(stream)
                assert await anext(payloads) == 1
                await server.restart()
                with pytest.raises(ConnectionClosedError) as caught:
                    await anext(payloads)
            assert (await actions.invoke({"numbers": [3, 4]})).payload == [3, 7]
    assert caught.value.code == 1006


async def test_an_invocation_that_a_crash_cut_is_lost_and_not_sent_again() -> None:
    async with run_server(Slow) as server, server.client(retry=PATIENT) as client:
        call = asyncio.create_task(client.invoke("slow"))
        await server.until_printed("slow began")
        await server.restart()
        with pytest.raises(LostConnectionError, match="may have run"):
            await call
        assert (await client.invoke("quick")).text == "quick"
    assert "".join(server.output).count("slow began") == 1


async def test_a_stream_that_a_crash_cut_never_looks_like_an_end() -> None:
    async with run_server(Counter) as server, server.client() as client:
        async with client.stream("for ever") as stream:
            events = aiter(stream.events())
            assert (await anext(events)).data == "0"
            await server.kill()
            with pytest.raises(LostConnectionError, match="not the whole answer"):
                _ = [event async for event in events]


async def test_while_no_process_listens_a_call_waits_for_the_next_or_says_so_at_once() -> None:
    async with run_server(Slow) as server:
        await server.kill()
        async with server.client(retry=NO_RETRY) as client:
            with pytest.raises(UnreachableError):
                await client.invoke("quick")
        async with server.client(retry=PATIENT) as client:
            call = asyncio.create_task(client.invoke("quick"))
            await server.start()
            assert (await call).text == "quick"
