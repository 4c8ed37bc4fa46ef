"""The calls of a client: invoke, stream, get, cancel, wait and connect."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any

from typing_extensions import Self

from agentserver.client.actions import ActionsConnection
from agentserver.client.answer import Answer
from agentserver.client.endpoint import check_id
from agentserver.client.errors import ClientError
from agentserver.client.polling import poll
from agentserver.client.request import Body, Call, encode_body
from agentserver.client.retry import Retry, limit
from agentserver.client.runs import DurableCalls
from agentserver.client.stream import Stream
from agentserver.client.websocket import Connection, opener
from agentserver.wire import INVOCATION_ID_HEADER

__all__ = ["Calls"]

_POLL_SECONDS = 1.0


class Calls(DurableCalls):
    """What a client does; part of `InvocationsClient`."""

    async def __aenter__(self) -> Self:
        self._http.users += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.users -= 1
        if not self._http.users:
            await self.close()

    async def close(self) -> None:
        """Close every connection, those of the sessions made from this client too.

        A server that does not read what was sent is waited for ``timeouts.close`` seconds at most.
        """
        await self._http.close()

    def session(self, session_id: str | None = None) -> Self:
        """A client whose every call is part of one session, over this client's connections.

        The connections are closed with the last of them that is used as a context manager.

        Args:
            session_id: The session to resume; None begins a new one.
        """
        bound = object.__new__(type(self))
        bound.session_id = str(uuid.uuid4()) if session_id is None else check_id("session_id", session_id)
        bound._http = self._http
        return bound

    async def invoke(
        self,
        body: Body = None,
        *,
        content_type: str | None = None,
        invocation_id: str | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Answer:
        """Invoke the agent and return its whole answer.

        Args:
            body: ``str`` is sent as text, ``bytes`` as they are, None as no body, anything else as JSON.
            content_type: The body's media type, if another than that.
            invocation_id: The invocation's id; None makes one, so that ``get`` and ``cancel`` can name it
                even when no answer came.
            query: Further query parameters.
            headers: Further headers.
            timeout: Seconds until the answer must be complete; None is the client's ``timeouts.answer``.

        Raises:
            ResponseError: If the answer is an error.
            UnreachableError: If there is no server.
            LostConnectionError: If the connection broke first.
            DeadlineError: If the time-out passed first, the time for a token included.
            CredentialError: If there is no token.
            ValueError: If the body, the id or a header cannot be sent.
            RuntimeError: If the client is closed.
        """
        return await self._http.answer(
            self._invocation(body, content_type, invocation_id, query=query, headers=headers, timeout=timeout)
        )

    @asynccontextmanager
    async def stream(
        self,
        body: Body = None,
        *,
        content_type: str | None = None,
        invocation_id: str | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        idle_timeout: float | None = None,
    ) -> AsyncGenerator[Stream, None]:
        """Invoke the agent and hand out its answer while it arrives.

        .. code-block:: python

            async with client.stream("tell me a story") as stream:
                async for event in stream.events():
                    print(event.data)

        Leaving the block early cuts the connection, which cancels the handler.

        Args:
            body: As for :meth:`invoke`.
            content_type: As for :meth:`invoke`.
            invocation_id: As for :meth:`invoke`.
            query: As for :meth:`invoke`.
            headers: As for :meth:`invoke`.
            idle_timeout: Seconds between two pieces; None is the client's ``timeouts.idle``. The beginning of
                the answer has the client's ``timeouts.answer``.

        Raises:
            ResponseError: If the answer is an error; the others as for :meth:`invoke`, during the stream too.
        """
        idle = limit(idle_timeout, self._http.timeouts.idle)
        call = self._invocation(body, content_type, invocation_id, query=query, headers=headers)
        response = await self._http.stream(call)
        async with Stream(response, call.invocation_id or "", self.session_id, idle) as stream:
            yield stream

    async def get(self, invocation_id: str, *, timeout: float | None = None) -> Answer:
        """Return the state of *invocation_id*, as the agent tells it; *timeout* is as for :meth:`invoke`.

        On the hosting platform, ask in the session of the invocation: ``client.session(answer.session_id)``.

        Raises:
            ResponseError: 404 ``not_found`` if the agent knows no such invocation or has no ``get``; the
                other errors as for :meth:`invoke`.
        """
        url = self._http.endpoint.invocation(invocation_id, self.session_id)
        return await self._http.answer(Call("GET", url, invocation_id, self.session_id, timeout=timeout))

    async def cancel(self, invocation_id: str, *, timeout: float | None = None) -> Answer:
        """Cancel *invocation_id* and return what the agent says to it; *timeout* is as for :meth:`invoke`.

        Raises:
            ResponseError: 404 ``not_found`` if the agent knows no such invocation or has no ``cancel``; the
                other errors as for :meth:`invoke`.
        """
        url = self._http.endpoint.cancel(invocation_id, self.session_id)
        return await self._http.answer(Call("POST", url, invocation_id, self.session_id, timeout=timeout))

    async def wait(
        self,
        invocation_id: str,
        *,
        done: Callable[[Answer], bool] | None = None,
        interval: float = _POLL_SECONDS,
        timeout: float = 300.0,
    ) -> Answer:
        """Ask with ``get`` until the invocation is done, and return the last answer.

        An answer of 429, 502, 503 or 504 is asked again too.

        Args:
            invocation_id: The invocation.
            done: Says whether an answer is the last; None takes :attr:`Answer.running`'s word.
            interval: Seconds between two questions, above 0, when the server's ``Retry-After`` does not say.
            timeout: Seconds until the invocation must be done.

        Raises:
            DeadlineError: If it is not done by then. It runs on.
            ResponseError: If the agent answers with another error.
            ClientError: If a question fails as :meth:`get` can.
            ValueError: If the id, the interval or the time-out makes no sense.
        """
        return await poll(
            lambda left: self.get(invocation_id, timeout=left),
            done or (lambda answer: not answer.running),
            invocation_id=invocation_id,
            interval=interval,
            timeout=timeout,
        )

    async def document(self, name: str = "openapi.json", *, timeout: float | None = None) -> Any:
        """Return a document that the agent serves of itself, read as JSON.

        Args:
            name: ``openapi.json``, or ``asyncapi.json`` for what it speaks over a WebSocket.
            timeout: As for :meth:`invoke`.

        Raises:
            ResponseError: 404 ``not_found`` if it has none; the other errors as for :meth:`invoke`.
            AnswerError: If it is not JSON.
        """
        answer = await self._http.answer(Call("GET", self._http.endpoint.document(name), timeout=timeout))
        return answer.json()

    async def ready(self, *, timeout: float = 5.0) -> bool:
        """Whether the server says that it is ready; False also when there is none.

        Args:
            timeout: Seconds it may take to say so.

        Raises:
            ValueError: If the agent is a hosted one: the platform asks it, callers cannot.
            RuntimeError: If the client is closed.
        """
        url = self._http.endpoint.readiness
        if url is None:
            raise ValueError("a hosted agent has no readiness route to ask")
        try:
            await self._http.answer(Call("GET", url, timeout=timeout))
        except ClientError:
            return False
        return True

    def connect(
        self,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        heartbeat: float | None = 30.0,
        max_message_size: int = 16 * 1024 * 1024,
        reconnect: Retry | None = None,
        on_reconnect: Callable[[Connection], Awaitable[None]] | None = None,
    ) -> Connection:
        """A raw WebSocket to the agent, opened by ``async with``.

        .. code-block:: python

            async with client.connect() as connection:
                await connection.send("hello")
                async for message in connection:
                    print(message)

        Args:
            query: Further query parameters.
            headers: Further headers of the upgrade.
            heartbeat: Seconds between Ping frames; a peer that answers none is gone. None sends none.
            max_message_size: The most bytes of one incoming message, 0 for no limit; a larger one closes
                with 1009. The hosting platform drops frames over 1 MiB.
            reconnect: When the connection breaks or the server goes away (1001, 1006, 1012, 1013), connect
                again with backoff and resume the session. Messages under way then may be lost: say in
                *on_reconnect* what the server needs to know. None: a broken connection is an error.
            on_reconnect: Called with the connection each time the session was resumed. It may send, and must
                not receive.

        Raises:
            ValueError: If *heartbeat* or *max_message_size* makes no sense. On entering, as
                :meth:`Connection.__aenter__` says.
        """
        open_socket = opener(
            self._http,
            query=query,
            headers=headers,
            heartbeat=heartbeat,
            max_message_size=max_message_size,
        )
        return Connection(open_socket, self._resumable_session(reconnect), reconnect, on_reconnect)

    def actions(
        self,
        *,
        heartbeat: float | None = 30.0,
        max_message_size: int = 16 * 1024 * 1024,
        reconnect: Retry | None = None,
    ) -> ActionsConnection:
        """A connection that speaks the action protocol: many invocations at once, streams among them.

        .. code-block:: python

            async with client.actions() as actions:
                first, second = await asyncio.gather(actions.invoke({"n": 1}), actions.invoke({"n": 2}))

        Args:
            heartbeat: As for :meth:`connect`.
            max_message_size: As for :meth:`connect`.
            reconnect: When the connection breaks, what is under way on it fails, for it may have run, and the
                next call connects again with backoff and resumes the session. None: it stays broken.

        Raises:
            ValueError: If *heartbeat* or *max_message_size* makes no sense. On entering, as
                :meth:`Connection.__aenter__` says; a server that does not speak actions is a 404.
        """
        open_socket = opener(self._http, actions=True, heartbeat=heartbeat, max_message_size=max_message_size)
        return ActionsConnection(
            lambda session_id, once: Connection(open_socket, session_id, once=once),
            self._resumable_session(reconnect),
            self._http.timeouts.answer,
            reconnect,
        )

    def _resumable_session(self, reconnect: Retry | None) -> str | None:
        # Not every server says on the 101 which session it made, and only a known one can be resumed.
        return str(uuid.uuid4()) if self.session_id is None and reconnect is not None else self.session_id

    def _invocation(
        self,
        body: Body,
        content_type: str | None,
        invocation_id: str | None,
        *,
        query: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        timeout: float | None = None,
    ) -> Call:
        chosen = str(uuid.uuid4()) if invocation_id is None else check_id("invocation_id", invocation_id)
        data, media_type = encode_body(body)
        outgoing = {INVOCATION_ID_HEADER: chosen, **(headers or {})}
        if content_type or media_type:
            outgoing["Content-Type"] = content_type or media_type
        url = self._http.endpoint.invoke(self.session_id).update_query(query or {})
        return Call("POST", url, chosen, self.session_id, outgoing, data, timeout)
