"""How often a request really goes out: aiohttp's own repeating is not the client's."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from agentserver.client import (
    NO_RETRY,
    InvocationsClient,
    LostConnectionError,
    ResponseError,
    Retry,
    Timeouts,
)
from tests.client.peers import Peer, raw_peer, read_head, upgrade
from tests.client.servers import Flaky, Routes, Scripted, Serve, echo

QUICK = Retry(attempts=3, first_delay=0)


Operation = Callable[[InvocationsClient], Awaitable[object]]


async def _get(client: InvocationsClient) -> object:
    return await client.get("i-1")


async def _connect(client: InvocationsClient) -> object:
    async with client.connect():
        return None


async def _actions(client: InvocationsClient) -> object:
    async with client.actions():
        return None


OPERATIONS = [_get, _connect, _actions]


class Cutting:
    """Cuts connections after the request's head, with what it says before; counts the requests."""

    def __init__(self, cuts: int | None, says: bytes, then: Peer) -> None:
        self.cuts = cuts
        self.says = says
        self.then = then
        self.requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.cuts is not None and self.requests >= self.cuts:
            self.requests += 1
            return await self.then(reader, writer)
        await read_head(reader)
        self.requests += 1
        writer.write(self.says)
        return None


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_head(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere")


async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await upgrade(reader, writer)
    await reader.read()


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_with_no_retry_a_request_whose_connection_is_cut_is_sent_once(operation: Operation) -> None:
    peer = Cutting(None, b"", answer)
    async with raw_peer(peer.serve) as url, InvocationsClient(url, retry=NO_RETRY) as client:
        with pytest.raises(LostConnectionError):
            await operation(client)
    assert peer.requests == 1


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_request_that_is_cut_is_sent_as_often_as_the_retry_says(operation: Operation) -> None:
    peer = Cutting(None, b"", answer)
    async with raw_peer(peer.serve) as url, InvocationsClient(url, retry=QUICK) as client:
        with pytest.raises(LostConnectionError):
            await operation(client)
    assert peer.requests == 3


@pytest.mark.parametrize("operation", [_connect, _actions])
async def test_an_upgrade_that_was_cut_is_made_again(operation: Operation) -> None:
    peer = Cutting(2, b"", accept)
    async with raw_peer(peer.serve) as url, InvocationsClient(url, retry=QUICK) as client:
        await operation(client)
    assert peer.requests == 3


async def test_a_kept_connection_that_the_server_has_closed_is_no_lost_get() -> None:
    requests = 0

    async def once_each(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        await answer(reader, writer)  # and says that it keeps the connection, which it then closes
        requests += 1
        await read_head(reader)

    async with raw_peer(once_each) as url, InvocationsClient(url, retry=QUICK) as client:
        assert [(await client.get("i-1")).text for _ in range(3)] == ["here"] * 3
    assert requests == 3


CUT_BODIES = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    b"HTTP/1.1 200 OK\r\nConte",
]


@pytest.mark.parametrize("says", CUT_BODIES)
async def test_a_get_whose_answer_is_cut_is_asked_again(says: bytes) -> None:
    peer = Cutting(2, says, answer)
    async with raw_peer(peer.serve) as url, InvocationsClient(url, retry=QUICK) as client:
        assert (await client.get("i-1")).text == "here"
    assert peer.requests == 3


@pytest.mark.parametrize("says", CUT_BODIES)
async def test_an_invocation_whose_answer_is_cut_is_repeated_only_when_asked_for(says: bytes) -> None:
    peer = Cutting(1, says, answer)
    async with raw_peer(peer.serve) as url, InvocationsClient(url, retry=QUICK) as client:
        with pytest.raises(LostConnectionError):
            await client.invoke("x")
    assert peer.requests == 1
    peer.requests = 0
    asked = Retry(attempts=2, first_delay=0, repeat_posts=True)
    async with raw_peer(peer.serve) as url, InvocationsClient(url, retry=asked) as client:
        assert (await client.invoke("x")).text == "here"
    assert peer.requests == 2


async def test_an_upgrade_that_was_refused_is_not_asked_for_again() -> None:
    busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    peer = Cutting(None, busy, answer)
    async with raw_peer(peer.serve) as url, InvocationsClient(url, retry=QUICK) as client:
        with pytest.raises(ResponseError, match="503"):
            await _connect(client)
    assert peer.requests == 1


async def test_each_attempt_of_a_reconnect_is_one_request() -> None:
    requests = 0

    async def first_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        requests += 1
        if requests == 1:
            await upgrade(reader, writer)
        else:
            await read_head(reader)

    async with raw_peer(first_only) as url, InvocationsClient(url, retry=QUICK) as client:
        async with client.connect(reconnect=Retry(attempts=2, first_delay=0)) as connection:
            with pytest.raises(LostConnectionError):
                await connection.receive(10)
    assert requests == 3


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


async def test_a_connection_that_never_came_about_is_tried_again(routes: Routes) -> None:
    port = unused_port()
    retry = Retry(attempts=50, first_delay=0.05, max_delay=0.05)
    async with InvocationsClient(f"http://127.0.0.1:{port}", retry=retry) as client:
        pending = asyncio.create_task(client.invoke("late"))
        app = web.Application()
        app.router.add_post("/invocations", echo)
        runner = web.AppRunner(app)
        await runner.setup()
        await asyncio.sleep(0.1)
        await web.TCPSite(runner, "127.0.0.1", port).start()
        try:
            assert (await pending).json()["body"] == "late"
        finally:
            await runner.cleanup()


@pytest.mark.parametrize("status", [None, 429, 503])
async def test_an_invocation_that_may_have_run_is_never_repeated_unasked(
    routes: Routes, status: int | None
) -> None:
    flaky = Flaky(1, status=status)
    async with InvocationsClient(await routes(post=flaky.answer), retry=Retry(first_delay=0)) as client:
        with pytest.raises((LostConnectionError, ResponseError)):
            await client.invoke("x")
    assert len(flaky.ids) == 1


@pytest.mark.parametrize("status", [None, 429, 503])
async def test_asked_for_an_invocation_is_repeated_under_its_id(routes: Routes, status: int | None) -> None:
    flaky = Flaky(2, status=status)
    retry = Retry(attempts=3, first_delay=0, repeat_posts=True)
    async with InvocationsClient(await routes(post=flaky.answer), retry=retry) as client:
        assert (await client.invoke("x")).json() == {"status": "completed"}
    assert len(flaky.ids) == 3
    assert len(set(flaky.ids)) == 1


@pytest.mark.parametrize("status", [None, 503])
async def test_a_get_is_repeated_for_it_changes_nothing(routes: Routes, status: int | None) -> None:
    flaky = Flaky(2, status=status)
    async with InvocationsClient(
        await routes(get=flaky.answer), retry=Retry(attempts=3, first_delay=0)
    ) as client:
        assert (await client.get("i-1")).json() == {"status": "completed"}


async def test_a_500_is_not_repeated_even_for_a_get(routes: Routes) -> None:
    flaky = Flaky(1, status=500)
    async with InvocationsClient(await routes(get=flaky.answer), retry=Retry(first_delay=0)) as client:
        with pytest.raises(ResponseError):
            await client.get("i-1")
    assert len(flaky.ids) == 1


@pytest.mark.parametrize("name", ["connect", "answer", "idle", "close"])
def test_a_time_out_of_zero_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Timeouts(**{name: 0.0})


def test_the_wait_between_attempts_doubles_up_to_its_bound_and_obeys_retry_after() -> None:
    retry = Retry(attempts=9, first_delay=1, max_delay=5)
    for attempt, whole in [(1, 1), (2, 2), (3, 4), (4, 5), (10_000, 5)]:
        assert whole / 2 <= retry.delay(attempt) <= whole
    assert retry.delay(1, retry_after=4) == 4
    assert retry.delay(1, retry_after=400) == 400


async def test_a_server_is_never_asked_earlier_than_it_said(serve: Serve) -> None:
    server = Scripted((503, "60"))
    retry = Retry(attempts=5, first_delay=0, max_delay=10)
    async with InvocationsClient(await serve(server.answer), retry=retry) as client:
        with pytest.raises(ResponseError) as caught:
            await client.get("i-1")
    assert (server.asked, caught.value.retry_after, caught.value.temporary) == (1, 60.0, True)


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"first_delay": -1}, {"max_delay": -1}])
def test_a_retry_that_makes_no_sense_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="or more"):
        Retry(**wrong)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the mistake
