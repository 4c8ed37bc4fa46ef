"""Requests as they go out: headers, tokens, time-outs, what is tried again, and errors as our own.

aiohttp repeats requests of its own accord (``GET`` and upgrades once, when a connection breaks), and its
time-out of a stream begins anew with each byte. Neither is what a caller was promised, so here a middleware
turns a broken connection into an error that aiohttp does not repeat, and one deadline spans all of a call.
"""

from __future__ import annotations

import asyncio
import io
import math
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from typing import TypeVar, cast

import aiohttp
from aiohttp import hdrs

from agentserver._time_limit import wait_for
from agentserver.client.answer import Answer
from agentserver.client.credentials import Credential, TokenCache
from agentserver.client.endpoint import Endpoint
from agentserver.client.errors import (
    ClientError,
    CredentialError,
    DeadlineError,
    LostConnectionError,
    ResponseError,
    UnreachableError,
)
from agentserver.client.open_websocket import OpenWebSocket
from agentserver.client.request import Call
from agentserver.client.response import error_from, ids_of
from agentserver.client.retry import Retry, Timeouts, limit
from agentserver.wire import REQUEST_ID_HEADER, TRACEPARENT_HEADER

__all__ = ["HttpSession"]

_ONE_PIECE = 262_144
"""Bytes of a body up to which it goes out in one piece."""

ResultT = TypeVar("ResultT")

_switched: ContextVar[list[aiohttp.ClientResponse] | None] = ContextVar("switched", default=None)
"""Takes the 101 of the upgrade under way: aiohttp shows its headers to a middleware, and nowhere else."""


class HttpSession:
    """The connections to one agent, shared by a client and its sessions.

    Attributes:
        users: How many of them are inside their ``async with`` block.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        credential: Credential | None,
        headers: Mapping[str, str],
        timeouts: Timeouts,
        retry: Retry,
        max_connections: int,
        connector: aiohttp.BaseConnector | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.timeouts = timeouts
        self.retry = retry
        self._headers = {**endpoint.headers, **headers}
        needs_token = credential is not None or endpoint.needs_token
        self._tokens = TokenCache(credential, timeouts.token) if needs_token else None
        self._max_connections = max_connections
        self._connector = connector
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self.users = 0

    async def close(self) -> None:
        """Close every connection."""
        self._closed = True
        if self._session is not None:
            # aiohttp waits until all that was written has left, which a peer that does not read prevents.
            with suppress(asyncio.TimeoutError):
                await wait_for(self._session.close(), self.timeouts.close)
        elif self._connector is not None:
            await self._connector.close()
        if self._tokens is not None:
            await self._tokens.close()

    async def answer(self, call: Call) -> Answer:
        """Send *call* and return its whole answer."""
        seconds = limit(call.timeout, self.timeouts.answer)
        return await self._within(seconds, call, self._repeated(call, self._answer_once, self.retry, seconds))

    async def stream(self, call: Call) -> aiohttp.ClientResponse:
        """Send *call* and return its answer once the headers are there."""
        seconds = self.timeouts.answer
        return await self._within(seconds, call, self._repeated(call, self._send_once, self.retry, seconds))

    async def websocket(
        self, call: Call, *, heartbeat: float | None, max_message_size: int, retry: Retry
    ) -> OpenWebSocket:
        """Open a WebSocket; refusals are raised as the errors they are, and at once."""

        async def open_once(call: Call) -> OpenWebSocket:
            return await self._open_once(
                call, await self._outgoing(call.headers), heartbeat, max_message_size
            )

        return await self._repeated(call, open_once, retry)

    async def _within(self, seconds: float, call: Call, calling: Awaitable[ResultT]) -> ResultT:
        try:
            return await wait_for(calling, seconds)
        except ClientError:
            raise
        except asyncio.TimeoutError:
            raise DeadlineError("the server did not answer within the time-out", **call.ids) from None

    async def _repeated(
        self,
        call: Call,
        send: Callable[[Call], Awaitable[ResultT]],
        retry: Retry,
        seconds: float = math.inf,
    ) -> ResultT:
        """Send *call*, again where that is allowed and *seconds* leave the time for it."""
        end = time.monotonic() + seconds
        attempt = 1
        while True:
            try:
                return await send(call)
            except (UnreachableError, LostConnectionError, ResponseError) as error:
                pause = _pause(call, error, attempt, retry)
                if pause is None or time.monotonic() + pause >= end:
                    raise
            await asyncio.sleep(pause)
            attempt += 1

    async def _answer_once(self, call: Call) -> Answer:
        response = await self._send_once(call)
        async with response:
            try:
                body = await response.read()
            except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
                raise self._failure(call, error) from error
        invocation_id, session_id = ids_of(response.headers, call.invocation_id or "", call.session_id)
        request_id = response.headers.get(REQUEST_ID_HEADER)
        return Answer(response.status, body, response.headers, invocation_id, session_id, request_id)

    async def _send_once(self, call: Call) -> aiohttp.ClientResponse:
        headers = await self._outgoing(call.headers)
        try:
            response = await self._client().request(
                call.method,
                call.url,
                data=_payload(call.body),
                headers=headers,
                allow_redirects=False,
            )
            if response.status < 300:
                return response
            async with response:
                failure = await error_from(response, call.invocation_id, call.session_id)
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError, _CutError) as error:
            raise self._failure(call, error) from error
        self._forget_token(failure)
        raise failure

    async def _open_once(
        self, call: Call, headers: Mapping[str, str], heartbeat: float | None, max_message_size: int
    ) -> OpenWebSocket:
        opening = self._client().ws_connect(
            call.url,
            headers=headers,
            heartbeat=heartbeat,
            max_msg_size=max_message_size,
            autoclose=False,
            autoping=False,
            timeout=aiohttp.ClientWSTimeout(ws_close=self.timeouts.close),  # pyright: ignore[reportCallIssue]  # made by attrs
        )
        switched: list[aiohttp.ClientResponse] = []
        before = _switched.set(switched)
        try:
            socket = await wait_for(opening, self.timeouts.connect)
        except ResponseError as error:
            raise self._refusal(call, error) from None
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError, _CutError) as error:
            raise self._failure(call, error) from error
        finally:
            _switched.reset(before)
        return OpenWebSocket(socket, switched[-1], self.timeouts)

    async def _outgoing(self, headers: Mapping[str, str]) -> dict[str, str]:
        outgoing = {**self._headers, **headers}
        _add_trace_context(outgoing)
        if self._tokens is not None:
            if not self.endpoint.secure:
                raise CredentialError(
                    f"A token would go to {self.endpoint.origin} unencrypted: use an https address"
                )
            outgoing["Authorization"] = f"Bearer {await self._tokens.get()}"
        return outgoing

    def _client(self) -> aiohttp.ClientSession:
        if self._closed:
            raise RuntimeError("the client is closed: call it inside its 'async with' block")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=self._connector or aiohttp.TCPConnector(limit=self._max_connections),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.timeouts.connect),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=self.endpoint.needs_token,
                middlewares=(_sent_once, _seen_upgrade),
            )
        return self._session

    def _refusal(self, call: Call, error: ResponseError) -> ResponseError:
        self._forget_token(error)
        error.session_id = error.session_id or call.session_id
        if error.code == f"http_{error.status}" and error.status in {200, 404}:
            error.message = "this agent serves no WebSocket there"
        return error

    def _forget_token(self, failure: ResponseError) -> None:
        if failure.status == 401 and self._tokens is not None:
            self._tokens.forget()

    def _failure(
        self, call: Call, error: Exception
    ) -> UnreachableError | LostConnectionError | DeadlineError:
        if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
            return UnreachableError(_unreachable(self.endpoint.origin, error), **call.ids)
        if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
            return DeadlineError("the server did not answer within the time-out", **call.ids)
        if isinstance(error, aiohttp.ClientResponseError):
            words = f"what answered at {self.endpoint.origin} broke the protocol: is it the agent's address?"
            return LostConnectionError(words, **call.ids)
        return LostConnectionError(
            "the connection broke before the answer was complete: the request may have run", **call.ids
        )


def _pause(call: Call, error: ClientError, attempt: int, retry: Retry) -> float | None:
    """Seconds after which *call* may be sent again; None if it may not."""
    if attempt >= retry.attempts or not _may_be_repeated(call, error, retry):
        return None
    asked = error.retry_after if isinstance(error, ResponseError) else None
    if asked is not None and asked > retry.max_delay:
        return None
    return retry.delay(attempt, asked)


def _may_be_repeated(call: Call, error: ClientError, retry: Retry) -> bool:
    if isinstance(error, UnreachableError):
        return True
    if call.upgrade:  # no message can have come through a connection that was not there yet
        return isinstance(error, LostConnectionError)
    if call.method != "GET" and not (retry.repeat_posts or call.is_idempotent):
        return False
    return not isinstance(error, ResponseError) or error.temporary


def _unreachable(origin: str, error: Exception) -> str:
    cause = cast("OSError | None", getattr(error, "os_error", getattr(error, "certificate_error", None)))
    if isinstance(cause, ssl.SSLError):
        why = getattr(cause, "verify_message", None) or str(cause.reason or cause).replace("_", " ").lower()
        return f"No secure connection to {origin}: {why}"
    words = cause.strerror if cause is not None else None
    return f"No server answers at {origin}: {words or 'no connection within the time-out'}"


class _CutError(Exception):
    """The connection broke before the answer's headers; the cause says how."""


async def _sent_once(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep aiohttp from repeating *request*: it repeats after the errors it knows, and only then."""
    try:
        return await send(request)
    except aiohttp.ClientConnectorError:  # never repeated
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _CutError from error


async def _seen_upgrade(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep the answer to an upgrade, or raise what a refused one says: aiohttp itself drops either."""
    response = await send(request)
    if hdrs.UPGRADE not in request.headers:
        return response
    if response.status != 101:
        async with response:
            raise await error_from(response, None, None)
    if (switched := _switched.get()) is not None:
        switched.append(response)
    return response


def _payload(body: bytes | None) -> bytes | io.BytesIO | None:
    """*body* as aiohttp wants it: it warns about large bytes, which it would copy to the socket in one go."""
    return io.BytesIO(body) if body is not None and len(body) > _ONE_PIECE else body


def _add_trace_context(headers: dict[str, str]) -> None:
    """Make the caller's active span the parent, if the program uses OpenTelemetry at all."""
    if "opentelemetry" in sys.modules and not any(name.lower() == TRACEPARENT_HEADER for name in headers):
        from opentelemetry import propagate

        propagate.inject(headers)
