"""Requests as they go out: headers, tokens, time-outs, what is tried again, and errors as our own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, cast

import aiohttp
from yarl import URL

from agentserver.client.answers import Answer, error_from, ids_of
from agentserver.client.credentials import Credential, TokenCache
from agentserver.client.endpoint import Endpoint
from agentserver.client.errors import (
    ClientError,
    CredentialError,
    DeadlineError,
    LostConnectionError,
    RefusedError,
    ResponseError,
    UnreachableError,
)
from agentserver.client.retry import Retry, Timeouts
from agentserver.wire import REQUEST_ID_HEADER

__all__ = ["Call", "Socket", "Transport"]

Socket: TypeAlias = aiohttp.ClientWebSocketResponse[bool]
"""aiohttp's side of a WebSocket; the parameter is about how it hands out text."""

_PASSING = frozenset({429, 502, 503, 504})
"""Statuses that say: not now."""


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
    """The connections to one agent, shared by a client and its sessions."""

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
        self._tokens = TokenCache(credential) if credential is not None or endpoint.needs_token else None
        self._max_connections = max_connections
        self._connector = connector
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
        elif self._connector is not None:
            await self._connector.close()
        if self._tokens is not None:
            await self._tokens.close()

    async def answer(self, call: Call) -> Answer:
        """Send *call* and return its whole answer."""
        limit = call.timeout or self.timeouts.answer
        timeout = aiohttp.ClientTimeout(total=limit, sock_connect=self.timeouts.connect)
        response = await self._send(call, timeout)
        async with response:
            try:
                body = await response.read()
            except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
                raise self._failure(call, error) from error
        invocation_id, session_id = ids_of(response.headers, call.invocation_id or "", call.session_id)
        request_id = response.headers.get(REQUEST_ID_HEADER)
        return Answer(response.status, body, response.headers, invocation_id, session_id, request_id)

    async def stream(self, call: Call) -> aiohttp.ClientResponse:
        """Send *call* and return its answer once the headers are there."""
        idle = call.timeout or self.timeouts.idle
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self.timeouts.connect, sock_read=idle)
        return await self._send(call, timeout)

    async def websocket(
        self, url: URL, headers: Mapping[str, str], *, heartbeat: float | None, max_message_size: int
    ) -> Socket:
        """Open a WebSocket, once; refusals are raised as the errors they are.

        aiohttp does not show the body of a refused upgrade, so only its status is known.
        """
        call = Call("GET", url)

        async def upgrade() -> Socket:
            return await self._client().ws_connect(
                url,
                headers=await self._outgoing(headers),
                heartbeat=heartbeat,
                max_msg_size=max_message_size,
                autoclose=False,
                autoping=False,
                timeout=aiohttp.ClientWSTimeout(ws_close=self.timeouts.close),  # pyright: ignore[reportCallIssue]  # made by attrs
            )

        try:
            return await asyncio.wait_for(upgrade(), self.timeouts.connect)
        except aiohttp.WSServerHandshakeError as error:
            raise self._refusal(error) from None
        except (aiohttp.ClientError, OSError, TimeoutError, asyncio.TimeoutError) as error:
            raise self._failure(call, error) from error

    async def _send(self, call: Call, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        for attempt in range(1, self.retry.attempts):
            outcome = await self._try(call, timeout)
            if isinstance(outcome, aiohttp.ClientResponse):
                return outcome
            await asyncio.sleep(self.retry.delay(attempt, getattr(outcome, "retry_after", None)))
        return await self._send_once(call, timeout)

    async def _try(self, call: Call, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientResponse | ClientError:
        """Send *call* once; an error after which it may be sent again is returned, any other raised."""
        try:
            return await self._send_once(call, timeout)
        except (UnreachableError, LostConnectionError, ResponseError) as error:
            if self._repeatable(call, error):
                return error
            raise

    def _repeatable(self, call: Call, error: Exception) -> bool:
        if isinstance(error, UnreachableError):
            return True
        if call.method != "GET" and not self.retry.repeat_posts:
            return False
        return not isinstance(error, ResponseError) or error.status in _PASSING

    async def _send_once(self, call: Call, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        try:
            response = await self._client().request(
                call.method,
                call.url,
                data=call.body,
                headers=await self._outgoing(call.headers),
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
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=self._connector or aiohttp.TCPConnector(limit=self._max_connections),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=self.endpoint.needs_token,
            )
        return self._session

    def _refusal(self, error: aiohttp.WSServerHandshakeError) -> ResponseError:
        if error.status in {200, 404}:
            words = "this agent serves no WebSocket there"
        else:
            words = "the server refused the WebSocket"
        kind = RefusedError if error.status in {401, 403} else ResponseError
        request_id = error.headers.get(REQUEST_ID_HEADER) if error.headers else None
        failure = kind(error.status, f"http_{error.status}", words, request_id=request_id)
        self._forget_token(failure)
        return failure

    def _forget_token(self, failure: ResponseError) -> None:
        if failure.status == 401 and self._tokens is not None:
            self._tokens.forget()

    def _failure(
        self, call: Call, error: Exception
    ) -> UnreachableError | LostConnectionError | DeadlineError:
        if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
            return UnreachableError(
                f"No server answers at {self.endpoint.origin}: {_cause(error)}", **call.ids
            )
        if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
            return DeadlineError("the server did not answer within the time-out", **call.ids)
        return LostConnectionError(
            "the connection broke before the answer was complete: the request may have run", **call.ids
        )


def _cause(error: Exception) -> str:
    reason = cast("OSError | None", getattr(error, "os_error", None))
    return (reason.strerror if reason is not None else None) or "no connection within the time-out"


def _add_trace_context(headers: dict[str, str]) -> None:
    """Make the caller's active span the parent, if the program uses OpenTelemetry at all."""
    if "opentelemetry" in sys.modules and "traceparent" not in headers:
        from opentelemetry import propagate

        propagate.inject(headers)
