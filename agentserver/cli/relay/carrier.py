"""Carries calls over HTTP and WebSocket to an agent elsewhere, and what it says back, as they come."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import suppress
from typing import Any, Final

import aiohttp
from aiohttp import WSMsgType, hdrs, web
from aiohttp.typedefs import Handler

from agentserver.cli.development.cors import allow_origins
from agentserver.cli.relay.guard import refusal
from agentserver.cli.relay.upstream import Upstream
from agentserver.client.aiohttp_internals import next_chunk
from agentserver.client.errors import ClientError
from agentserver.inspector.malformed import keep_quiet_of_malformed_requests

__all__ = ["application"]

logger = logging.getLogger("agentserver.relay")  # nobody sets logging up here: it goes to standard error

_CONNECT_SECONDS: Final = 30.0
_QUIET_SECONDS: Final = 60.0
_REFUSALS: Final = frozenset({401, 403})
_MAX_MESSAGE: Final = 64 * 1024 * 1024
# What is for one connection alone, what says where a page is from, and what a page must not say to the agent.
_NOT_SENT: Final = frozenset(
    {
        *("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
        *("host", "expect", "content-length", "origin", "referer", "cookie", "authorization"),
    }
)
_NOT_SENT_PREFIXES: Final = ("sec-", "proxy-", "access-control-")
_NOT_RETURNED: Final = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "upgrade", "set-cookie", "content-length"}
)


def application(upstream: Upstream, origins: Collection[str] | None) -> web.Application:
    """Make the relay.

    Args:
        upstream: The agent.
        origins: As for `refusal`.
    """
    keep_quiet_of_malformed_requests()
    app = web.Application(client_max_size=0)
    if origins is not None:
        allow_origins(app, list(origins))

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        port = request.get_extra_info("sockname")[1]
        if words := refusal(request.headers, port, origins):
            return _say(403, "forbidden", words)
        return await handler(request)

    app.middlewares.insert(0, guard)
    carrier = _Carrier(upstream)
    app.cleanup_ctx.append(carrier.life)
    app.router.add_route("*", "/{path:.*}", carrier.carry)
    return app


class _Carrier:
    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._session: aiohttp.ClientSession
        self._told: dict[str, float] = {}

    async def life(self, app: web.Application) -> AsyncGenerator[None, None]:
        """Hold the connections to the agent as long as the relay is there."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
        self._session = aiohttp.ClientSession(
            timeout=timeout, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        )
        yield
        await self._session.close()
        await self._upstream.close()

    async def carry(self, request: web.Request) -> web.StreamResponse:
        """Carry one call."""
        try:
            if request.headers.get(hdrs.UPGRADE, "").lower() == "websocket":
                return await self._carry_websocket(request)
            return await self._carry_http(request)
        except ClientError as error:
            return self._fail(502, "no_token", str(error))
        except aiohttp.WSServerHandshakeError as error:
            words = f"The agent answered the handshake with {error.status}"
            if error.status in _REFUSALS:
                words = self._upstream.refused(error.status)
            return self._fail(error.status, "refused", words)
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            where = self._upstream.endpoint.origin
            if request.transport is None or request.transport.is_closing():
                return web.Response()  # for nobody: it is the caller that left
            return self._fail(502, "unreachable", f"{where} cannot be reached: {type(error).__name__}")

    def _fail(self, status: int, code: str, words: str) -> web.Response:
        self._tell(words)
        return _say(status, code, words)

    def _tell(self, words: str) -> None:
        """Tell whoever runs the relay, once a minute: a page may ask again and again."""
        now = time.monotonic()
        self._told = {each: at for each, at in self._told.items() if now - at < _QUIET_SECONDS}
        if words not in self._told:
            self._told[words] = now
            logger.warning(words)

    async def _carry_http(self, request: web.Request) -> web.StreamResponse:
        target = self._upstream.http(request.rel_url)
        if target is None:
            return _say(404, "not_found", "An agent has nothing at this path")
        headers = {**_kept(request.headers), **await self._upstream.headers()}
        body = request.content if request.can_read_body else None
        if (length := request.content_length) is not None and body is not None:
            headers[hdrs.CONTENT_LENGTH] = str(length)
        async with self._session.request(
            request.method, target, headers=headers, data=body, allow_redirects=False
        ) as answer:
            if answer.status in _REFUSALS:
                self._tell(self._upstream.refused(answer.status))
            response = web.StreamResponse(status=answer.status, reason=answer.reason)
            for name, value in answer.headers.items():
                if name.lower() not in _NOT_RETURNED and not name.lower().startswith("access-control-"):
                    response.headers.add(name, value)
            response.content_length = answer.content_length
            await response.prepare(request)
            try:
                while piece := await next_chunk(answer.content):
                    await response.write(piece)
            except (aiohttp.ClientError, asyncio.TimeoutError):
                if request.transport is not None:
                    request.transport.abort()  # a broken answer must not look like a whole one
                return response
            await response.write_eof()
            return response

    async def _carry_websocket(self, request: web.Request) -> web.StreamResponse:
        target = self._upstream.websocket(request.rel_url)
        if target is None:
            return _say(404, "not_found", "An agent has no WebSocket at this path")
        headers = {**_kept(request.headers), **await self._upstream.headers()}
        offered = request.headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL, "")
        protocols = [name.strip() for name in offered.split(",") if name.strip()]
        async with self._session.ws_connect(
            target,
            headers=headers,
            protocols=protocols,
            autoclose=False,
            autoping=False,
            max_msg_size=_MAX_MESSAGE,
            compress=15,
        ) as agent:
            page = web.WebSocketResponse(
                protocols=[agent.protocol] if agent.protocol else [],
                autoclose=False,
                autoping=False,
                max_msg_size=_MAX_MESSAGE,
            )
            await page.prepare(request)
            ways = [asyncio.create_task(_pump(page, agent)), asyncio.create_task(_pump(agent, page))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
            if not page.closed and request.transport is not None:
                request.transport.abort()  # the agent went without a close
            return page


async def _pump(source: Any, target: Any) -> None:
    """Carry messages one way until one side closes, and the close too."""
    with suppress(ConnectionError, aiohttp.ClientError):
        while True:
            message: aiohttp.WSMessage = await source.receive()
            if message.type is WSMsgType.TEXT:
                await target.send_str(message.data)
            elif message.type is WSMsgType.BINARY:
                await target.send_bytes(message.data)
            elif message.type is WSMsgType.PING:
                await target.ping(message.data)
            elif message.type is WSMsgType.PONG:
                await target.pong(message.data)
            elif message.type is WSMsgType.CLOSE:
                code = message.data or 1000  # a close without a code cannot be sent by aiohttp
                reason = (message.extra or "").encode()
                await target.close(code=code, message=reason)
                await source.close(code=code, message=reason)
                return
            else:
                return


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in headers.items()
        if name.lower() not in _NOT_SENT and not name.lower().startswith(_NOT_SENT_PREFIXES)
    }


def _say(status: int, code: str, words: str) -> web.Response:
    return web.json_response({"error": {"code": code, "message": words}}, status=status)
