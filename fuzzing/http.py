"""Pipelines of HTTP/1.1 to one application behind our server and behind aiohttp's own.

Compared are the responses in their order (status, body, headers of the handler, framing, whether the
connection is kept) and whether the server closes or waits. Of a response that the server itself makes only
the status counts: the envelope and the headers of the contract are ours.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Final, NamedTuple

from aiohttp import web
from aiohttp.typedefs import Handler

from agentserver import AgentHostBuilder, InvocationContext, InvocationHandler

from .wire import Accept, Answer, cut, exchange, host

_FOUND: Final = web.RequestKey("found", str)
_WORD: Final = ContextVar("word", default="nothing")
_OWN: Final = ("x-request-id", "x-platform-server", "x-platform-error-source", "server", "date")
_CHUNKS: Final = (1, 2, 15, 16, 255, 4096)


class Case(NamedTuple):
    """One connection; the last request asks for its end.

    Args:
        requests: The requests as they go over the wire.
        pieces: The same bytes, cut anywhere.
    """

    requests: list[bytes]
    pieces: list[bytes]


class Seen(NamedTuple):
    """A response as it is compared."""

    status: int
    headers: Mapping[str, str]
    body: bytes


# --- cases


def generate(rng: random.Random) -> Case:
    """A case; about a third of them have a request that is broken or odd."""
    requests = [_request(rng) for _ in range(rng.randrange(1, 6))]
    if rng.random() < 0.35:
        requests.insert(rng.randrange(len(requests) + 1), _odd(rng))
    requests.append(b"GET /plain HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    return Case(requests, cut(rng, b"".join(requests)))


def _request(rng: random.Random) -> bytes:
    lines = [b"Host: x"]
    if rng.random() < 0.15:
        lines.append(rng.choice((b"Connection: keep-alive", b"X-A: b, c", b"x-empty:", b"Cookie: a=1; b=2")))
    if rng.random() < 0.03:
        lines.append(b"Connection: close")
    version = b"1.0" if rng.random() < 0.05 else b"1.1"
    if rng.random() < 0.5:
        path = rng.choice(
            (b"/plain", b"/stream", b"/found", b"/none", b"/cookie", b"/refuse", b"/missing", b"/late")
        )
        method = rng.choice((b"GET", b"GET", b"HEAD", b"OPTIONS", b"DELETE"))
        return _joined(method, path, version, lines)
    path = rng.choice((b"/echo", b"/pieces", b"/ignore", b"/some", b"/missing"))
    body = rng.randbytes(rng.choice((0, 1, 5, 100, 5000, 70_000)))
    if rng.random() < 0.1:
        lines.append(b"Expect: 100-continue")
    if version == b"1.1" and rng.random() < 0.5:
        lines.append(b"Transfer-Encoding: " + rng.choice((b"chunked", b"Chunked")))
        return _joined(b"POST", path, version, lines) + _chunked(rng, body)
    lines.append(b"Content-Length: %d" % len(body))
    return _joined(b"POST", path, version, lines) + body


def _joined(method: bytes, path: bytes, version: bytes, lines: Sequence[bytes]) -> bytes:
    return b"%s %s HTTP/%s\r\n%s\r\n\r\n" % (method, path, version, b"\r\n".join(lines))


def _chunked(rng: random.Random, body: bytes) -> bytes:
    data = bytearray()
    while body:
        size = rng.choice(_CHUNKS) if len(body) < 20_000 else 9_999
        piece, body = body[:size], body[size:]
        extension = rng.choice((b"", b"", b"", b";x", b";x=y", b';x="y"'))
        data += b"%x%s\r\n%s\r\n" % (len(piece), extension, piece)
    return bytes(data) + b"0\r\n" + rng.choice((b"", b"", b"X-Trailer: 1\r\n")) + b"\r\n"


def _odd(rng: random.Random) -> bytes:
    post = b"POST /echo HTTP/1.1\r\nHost: x\r\n"
    return rng.choice(
        (
            b"GET /plain HTTP/1.1\r\n\r\n",
            b"GET /plain HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
            b"GET /plain HTTP/1.1\nHost: x\n\n",
            b"GET /plain HTTP/1.1\r\nHost : x\r\n\r\n",
            b"GET /plain HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
            b"GET /plain HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
            b"GET /plain HTTP/1.1\r\nHost: x\r\nX: a\xffb\r\n\r\n",
            b"GET /plain HTTP/1.2\r\nHost: x\r\n\r\n",
            b"GET /pl ain HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET http://x/plain HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /%70lain?a=%00 HTTP/1.1\r\nHost: x\r\n\r\n",
            b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
            b"G(T /plain HTTP/1.1\r\nHost: x\r\n\r\n",
            b"BREW /plain HTTP/1.1\r\nHost: x\r\n\r\n",
            b"\r\nGET /plain HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /plain HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 9000 + b"\r\n\r\n",
            b"GET /plain?" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /plain HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            b"GET /plain HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
            post + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
            post + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            post + b"Content-Length: -1\r\n\r\n",
            post + b"Content-Length: +5\r\n\r\nhello",
            post + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            post + b"Transfer-Encoding: chunked\r\n\r\nx\r\nhello\r\n0\r\n\r\n",
            post + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloo\r\n0\r\n\r\n",
            post + b"Transfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n",
            post + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
            post + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
            post + b"Transfer-Encoding: gzip\r\n\r\n",
            post + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
            post + b"Expect: something\r\nContent-Length: 0\r\n\r\n",
            b"POST /ignore HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n\r\n",
        )
    )  # fmt: skip


# --- the application behind both


async def _plain(_request: web.Request) -> web.StreamResponse:
    return web.Response(text="plain")


async def _echo(request: web.Request) -> web.StreamResponse:
    return web.Response(body=await request.read())


async def _pieces(request: web.Request) -> web.StreamResponse:
    return web.Response(text=str(sum([len(piece) async for piece in request.content.iter_any()])))


async def _some(request: web.Request) -> web.StreamResponse:
    return web.Response(text=str(len(await request.content.read(1))))


async def _stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"X-Kind": "stream"})
    await response.prepare(request)
    for number in range(3):
        await response.write(b"piece %d " % number)
        await asyncio.sleep(0)
    return response


async def _found(_request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/plain")


async def _none(_request: web.Request) -> web.StreamResponse:
    return web.Response(status=204)


async def _cookie(_request: web.Request) -> web.StreamResponse:
    response = web.Response(text="cookie")
    response.set_cookie("a", "1")
    return response


async def _refuse(_request: web.Request) -> web.StreamResponse:
    raise web.HTTPForbidden


async def _late(_request: web.Request) -> web.StreamResponse:
    for _ in range(5):
        await asyncio.sleep(0)
    return web.Response(text="late")


ROUTES: Final[Mapping[str, Callable[[web.Request], object]]] = {
    "plain": _plain, "echo": _echo, "pieces": _pieces, "some": _some, "stream": _stream, "found": _found,
    "none": _none, "cookie": _cookie, "refuse": _refuse, "late": _late, "ignore": _plain,
}  # fmt: skip


@web.middleware
async def _look_at_context(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Leave a word in the context: no other request may find it."""
    request[_FOUND] = _WORD.get()
    _WORD.set(request.path)
    return await handler(request)


async def _tell_context(request: web.Request, response: web.StreamResponse) -> None:
    # A refused expectation (417) is answered before any middleware has run.
    response.headers["X-Found"] = request.get(_FOUND, "nothing")


def _route(app: web.Application) -> None:
    app.middlewares.append(_look_at_context)
    app.on_response_prepare.append(_tell_context)
    for name, handler in ROUTES.items():
        for method in ("GET", "POST"):
            app.router.add_route(method, f"/{name}", handler)  # type: ignore[arg-type]


class _Nothing(InvocationHandler):
    async def handle(self, request: web.Request, context: InvocationContext) -> str:
        return "nothing"


@asynccontextmanager
async def servers() -> AsyncGenerator[tuple[Accept, Accept], None]:
    """The ways in to aiohttp's server and to ours."""

    def configure(builder: AgentHostBuilder) -> None:
        builder.add_invocations(_Nothing).configure(request_logging=False, max_body_size=1024**2)
        _route(builder.app)

    app = web.Application()
    _route(app)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
    await runner.setup()
    server = runner.server
    assert server is not None
    loop = asyncio.get_running_loop()
    try:
        async with host(configure) as made:
            yield lambda sock: loop.connect_accepted_socket(server, sock), made.accept
    finally:
        await runner.cleanup()


# --- comparing


async def run(accept: Accept, case: Case) -> tuple[list[Seen], str]:
    """What a server makes of *case*, and how it leaves the connection."""
    answer = await exchange(accept, case.pieces)
    return read(answer, [request.lstrip().startswith(b"HEAD") for request in case.requests])


def read(answer: Answer, heads: Sequence[bool]) -> tuple[list[Seen], str]:
    """The responses in *answer*; *heads* says which of them are to HEAD."""
    data, found, end = answer.data, list[Seen](), "closed" if answer.closed else "waits"
    is_head = iter(heads)
    while data:
        head, separator, data = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        if not separator or not first.startswith("HTTP/1."):
            return found, f"no response: {head[:60]!r}"
        status = int(first.split()[1])
        headers = {
            name.lower(): value for name, value in (line.split(": ", 1) for line in lines if ": " in line)
        }
        body = b""
        # A 400 is never a handler's, and what could not be read is not known to be a HEAD.
        has_body = status >= 200 and (not next(is_head, False) or status == 400) and status != 204
        if has_body:
            body, data, whole = _body(headers, data)
            if not whole:
                return found, f"half a response: {first}"
        found.append(_comparable(first, status, headers, body))
    return found, end


def _body(headers: Mapping[str, str], data: bytes) -> tuple[bytes, bytes, bool]:
    if headers.get("transfer-encoding") != "chunked":
        length = int(headers.get("content-length", len(data)))
        return data[:length], data[length:], len(data) >= length
    body = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        length = int(size or b"-1", 16)
        if length < 0 or len(data) < length + 2:
            return body, b"", False
        body, data = body + data[:length], data[length + 2 :]
        if not length:
            return body, data, True


def _comparable(first: str, status: int, headers: Mapping[str, str], body: bytes) -> Seen:
    kept = {name: value for name, value in headers.items() if name not in _OWN}
    if status < 400:
        return Seen(status, {**kept, ":version": first[:8]}, body)
    return Seen(status, {}, b"")
