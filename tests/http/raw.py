"""An HTTP/1.1 client that sends the bytes it is given and reads what comes back, message by message."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from multidict import CIMultiDict

from tests.servers import DEADLINE

FRAMEWORK_HEADERS = ("x-request-id", "x-platform-server")
NO_BODY = {204, 304}


@dataclass(frozen=True)
class Answer:
    """One response as it came."""

    status: int
    headers: CIMultiDict[str]
    body: bytes

    @property
    def error(self) -> tuple[int, str, str | None]:
        """Status, code and source of an error in the one envelope, with the headers all responses have."""
        assert self.headers["Content-Type"].startswith("application/json")
        envelope: dict[str, dict[str, Any]] = json.loads(self.body)
        assert envelope.keys() == {"error"}
        assert envelope["error"].keys() == {"code", "message"}
        for name in FRAMEWORK_HEADERS:
            assert len(self.headers.getall(name)) == 1
        return self.status, envelope["error"]["code"], self.headers.get("x-platform-error-source")


class Connection:
    """One TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.version = "HTTP/1.1"

    def send(self, *parts: bytes) -> None:
        """Send *parts* as they are."""
        self.writer.write(b"".join(parts))

    async def answer(self, *, head: bool = False) -> Answer:
        """Read one response; *head* says that the request was a HEAD."""
        return await asyncio.wait_for(self._answer(head), DEADLINE)

    async def _answer(self, head: bool) -> Answer:
        first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
        version, status, _ = f"{first} ".split(" ", 2)
        assert version == self.version
        headers: CIMultiDict[str] = CIMultiDict()
        for line in lines:
            name, _, value = line.partition(":")
            headers.add(name, value.strip())
        number = int(status)
        if head or number < 200 or number in NO_BODY:
            return Answer(number, headers, b"")
        return Answer(number, headers, await self._body(headers))

    async def _body(self, headers: CIMultiDict[str]) -> bytes:
        if headers.get("Transfer-Encoding") != "chunked":
            return await self.reader.readexactly(int(headers["Content-Length"]))
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += (await self.reader.readexactly(size + 2))[:-2]
        assert await self.reader.readexactly(2) == b"\r\n"
        return body

    async def rest(self) -> bytes:
        """Everything until the server closes the connection."""
        return await asyncio.wait_for(self.reader.read(), DEADLINE)


@asynccontextmanager
async def connected(client: aiohttp.ClientSession) -> AsyncGenerator[Connection, None]:
    """A connection of its own to the server that *client* talks to."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(client))
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


async def ask(client: aiohttp.ClientSession, *parts: bytes, head: bool = False) -> Answer:
    """Send *parts* on a connection of their own and read one response."""
    async with connected(client) as connection:
        connection.send(*parts)
        return await connection.answer(head=head)


def port_of(client: aiohttp.ClientSession) -> int:
    """The port of the server that *client* talks to."""
    assert client._base_url is not None
    assert client._base_url.port is not None
    return client._base_url.port


def post(body: bytes = b"", *headers: str, path: str = "/invocations", method: str = "POST") -> bytes:
    """The bytes of a request whose body's length is announced."""
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def get(path: str, *headers: str, method: str = "GET") -> bytes:
    """The bytes of a request without a body."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode("latin-1")
