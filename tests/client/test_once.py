"""How often a request really goes out: aiohttp's own repeating is not the client's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from agentserver.client import NO_RETRY, InvocationsClient, LostConnectionError, ResponseError, Retry
from tests.client.peers import Peer, raw_peer, read_head, upgrade

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
