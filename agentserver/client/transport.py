"""Requests as they go out: headers, tokens, time-outs, what is tried again, and errors as our own."""

from __future__ import annotations

import asyncio
import ssl
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, cast

import aiohttp
from aiohttp import hdrs
from yarl import URL

from agentserver.client.answers import Answer, error_from, ids_of
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
from agentserver.client.retry import Retry, Timeouts, limit
from agentserver.wire import REQUEST_ID_HEADER, TRACEPARENT_HEADER

__all__ = ["Call", "Socket", "Transport"]

Socket: TypeAlias = aiohttp.ClientWebSocketResponse[bool]
"""aiohttp's side of a WebSocket; the parameter is about how it hands out text."""


@dataclass(frozen=True)
class Call:
    """One request, before it goes out."""

    method: str
    url: URL
    invocation_id: str | None = None
    session_id: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes | None = None
    timeout: float | None = None

    @property
    def ids(self) -> dict[str, str | None]:
        """The ids for an error about this call."""
        return {"invocation_id": self.invocation_id, "session_id": self.session_id}


class Transport:
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
            await self._session.close()
        elif self._connector is not None:
            await self._connector.close()
        if self._tokens is not None:
            await self._tokens.close()

    async def answer(self, call: Call) -> Answer:
        """Send *call* and return its whole answer."""
        response = await self._send(call, limit(call.timeout, self.timeouts.answer))
        async with response:
            try:
                body = await response.read()
            except (aiohttp.ClientError, ConnectionError, TimeoutError, asyncio.TimeoutError) as error:
                raise self._failure(call, error) from error
        invocation_id, session_id = ids_of(response.headers, call.invocation_id or "", call.session_id)
        request_id = response.headers.get(REQUEST_ID_HEADER)
        return Answer(response.status, body, response.headers, invocation_id, session_id, request_id)

    async def stream(self, call: Call) -> aiohttp.ClientResponse:
        """Send *call* and return its answer once the headers are there; the time-out is the idle one."""
        idle = limit(call.timeout, self.timeouts.idle)
        response = await self._send(call, self.timeouts.answer, streaming=True)
        if response.connection is not None and response.connection.protocol is not None:
            response.connection.protocol.read_timeout = idle
            response.connection.protocol.start_timeout()
        return response

    async def websocket(self, call: Call, *, heartbeat: float | None, max_message_size: int) -> Socket:
        """Open a WebSocket, once; refusals are raised as the errors they are."""
        headers = await self._outgoing(call.headers)
        opening = self._client().ws_connect(
            call.url,
            headers=headers,
            heartbeat=heartbeat,
            max_msg_size=max_message_size,
            autoclose=False,
            autoping=False,
            timeout=aiohttp.ClientWSTimeout(ws_close=self.timeouts.close),  # pyright: ignore[reportCallIssue]  # made by attrs
        )
        try:
            return await asyncio.wait_for(opening, self.timeouts.connect)
        except ResponseError as error:
            raise self._refusal(call, error) from None
        except (aiohttp.ClientError, OSError, TimeoutError, asyncio.TimeoutError) as error:
            raise self._failure(call, error) from error

    async def _send(self, call: Call, seconds: float, *, streaming: bool = False) -> aiohttp.ClientResponse:
        """Send *call*, again where that is allowed, until *seconds* have passed."""
        end = time.monotonic() + seconds
        attempt = 1
        while True:
            try:
                return await self._send_once(call, self._timeout(end - time.monotonic(), streaming=streaming))
            except (UnreachableError, LostConnectionError, ResponseError) as error:
                pause = self._pause(call, error, attempt)
                if pause is None or time.monotonic() + pause >= end:
                    raise
            await asyncio.sleep(pause)
            attempt += 1

    def _timeout(self, left: float, *, streaming: bool) -> aiohttp.ClientTimeout:
        left = max(left, 0.001)  # aiohttp takes 0 for no time-out
        if streaming:
            return aiohttp.ClientTimeout(
                total=None, connect=left, sock_connect=self.timeouts.connect, sock_read=left
            )
        return aiohttp.ClientTimeout(total=left, sock_connect=self.timeouts.connect)

    def _pause(self, call: Call, error: ClientError, attempt: int) -> float | None:
        """Seconds after which *call* may be sent again; None if it may not."""
        if attempt >= self.retry.attempts or not self._repeatable(call, error):
            return None
        asked = error.retry_after if isinstance(error, ResponseError) else None
        if asked is not None and asked > self.retry.max_delay:
            return None
        return self.retry.delay(attempt, asked)

    def _repeatable(self, call: Call, error: ClientError) -> bool:
        if isinstance(error, UnreachableError):
            return True
        if call.method != "GET" and not self.retry.repeat_posts:
            return False
        return not isinstance(error, ResponseError) or error.temporary

    async def _send_once(self, call: Call, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        headers = await self._outgoing(call.headers)
        try:
            response = await self._client().request(
                call.method,
                call.url,
                data=call.body,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
            )
            if response.status < 300:
                return response
            async with response:
                failure = await error_from(response, call.invocation_id, call.session_id)
        except (aiohttp.ClientError, OSError, TimeoutError, asyncio.TimeoutError) as error:
            raise self._failure(call, error) from error
        self._forget_token(failure)
        raise failure

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
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=self.endpoint.needs_token,
                middlewares=(_typed_refusal,),
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


def _unreachable(origin: str, error: Exception) -> str:
    cause = cast("OSError | None", getattr(error, "os_error", getattr(error, "certificate_error", None)))
    if isinstance(cause, ssl.SSLError):
        why = getattr(cause, "verify_message", None) or str(cause.reason or cause).replace("_", " ").lower()
        return f"No secure connection to {origin}: {why}"
    words = cause.strerror if cause is not None else None
    return f"No server answers at {origin}: {words or 'no connection within the time-out'}"


async def _typed_refusal(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Raise what a refused upgrade says: aiohttp itself drops the body, and with it code and message."""
    response = await send(request)
    if response.status != 101 and hdrs.UPGRADE in request.headers:
        async with response:
            raise await error_from(response, None, None)
    return response


def _add_trace_context(headers: dict[str, str]) -> None:
    """Make the caller's active span the parent, if the program uses OpenTelemetry at all."""
    if "opentelemetry" in sys.modules and not any(name.lower() == TRACEPARENT_HEADER for name in headers):
        from opentelemetry import propagate

        propagate.inject(headers)
