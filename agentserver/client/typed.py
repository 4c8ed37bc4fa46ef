"""Clients that take and give the objects that a handler's class names.

With the class comes the server's part of the framework, which the rest of the client does without: nothing
but `InvocationsClient.of` loads this.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Generic

from typing_extensions import Self

from agentserver._typed.codec import Codec, MismatchError
from agentserver._typed.contract import Contract
from agentserver.actions.handler import InvocationActionHandler
from agentserver.client.actions import ActionsConnection
from agentserver.client.calls import Calls
from agentserver.client.errors import AnswerError
from agentserver.client.retry import Retry
from agentserver.client.websocket import Connection
from agentserver.errors import HandlerError
from agentserver.invocations._handler_definition import HandlerDefinition, define
from agentserver.invocations.handler import In, InvocationHandler, InvocationWebSocketHandler, Out

__all__ = [
    "TypedActions",
    "TypedActionsClient",
    "TypedClient",
    "TypedConnection",
    "TypedWebSocketClient",
]

_JSON = "application/json"
_EVENTS = "text/event-stream"


def typed_client(handler: type[InvocationHandler], client: Calls) -> TypedClient[Any, Any]:
    """Make the client that fits *handler*.

    Raises:
        StartupError: If it names no types, or some that nothing can read.
    """
    offered = define(handler)
    if offered.contract is None and offered.messages is None:
        raise HandlerError(
            f"{handler.__name__} names no types: derive it from InvocationHandler[…, …],"
            " or use InvocationsClient"
        )
    if issubclass(handler, InvocationActionHandler):
        return TypedActionsClient(offered, client)
    if issubclass(handler, InvocationWebSocketHandler):
        return TypedWebSocketClient(offered, client)
    return TypedClient(offered, client)


class TypedClient(Generic[In, Out]):
    """Calls an agent with the objects that its handler takes, for those that it gives.

    Made by :meth:`InvocationsClient.of`, and used as an asynchronous context manager.

    Args:
        offered: What the handler offers.
        client: Makes the calls; for what has no types, such as ``get`` and ``cancel``.
    """

    def __init__(self, offered: HandlerDefinition, client: Calls) -> None:
        self.client = client
        self._offered = offered
        self._name = offered.type.__name__

    async def __aenter__(self) -> Self:
        await self.client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.client.__aexit__(kind, error, trace)

    def session(self, session_id: str | None = None) -> Self:
        """A client whose every call is part of one session; *session_id* is as for the untyped client."""
        return type(self)(self._offered, self.client.session(session_id))

    async def invoke(
        self,
        request: In,
        *,
        invocation_id: str | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Out:
        """Invoke the agent and return what it gives.

        The arguments are as for :meth:`InvocationsClient.invoke`.

        Raises:
            ValueError: If *request* is not what the handler takes; nothing is sent then.
            AnswerError: If the answer is not what the handler says it gives, or is a stream.
            ClientError: As :meth:`InvocationsClient.invoke` says.
        """
        answer = await self.client.invoke(
            self._body(request),
            content_type=_JSON,
            invocation_id=invocation_id,
            query=query,
            headers=headers,
            timeout=timeout,
        )
        ids = {"invocation_id": answer.invocation_id, "session_id": answer.session_id}
        if answer.content_type == _EVENTS:
            raise AnswerError(f"{self._name} streams its answer: use stream", **ids)
        reply = self._contract().reply
        return _read(reply, answer.body, self._name, ids)  # type: ignore[no-any-return]  # by the class

    @asynccontextmanager
    async def stream(
        self,
        request: In,
        *,
        invocation_id: str | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        idle_timeout: float | None = None,
    ) -> AsyncGenerator[AsyncIterator[Out], None]:
        """Invoke the agent and hand out its events as objects while they arrive; a reply is one of them.

        Leaving the block early cuts the connection, which cancels the handler. The arguments are as for
        :meth:`InvocationsClient.stream`.

        Raises:
            ValueError: If *request* is not what the handler takes; nothing is sent then.
            AnswerError: If an event is not what the handler says it gives.
            ClientError: As :meth:`InvocationsClient.stream` says.
        """
        reply = self._contract().reply
        async with self.client.stream(
            self._body(request),
            content_type=_JSON,
            invocation_id=invocation_id,
            query=query,
            headers=headers,
            idle_timeout=idle_timeout,
        ) as stream:
            ids = {"invocation_id": stream.invocation_id, "session_id": stream.session_id}

            async def events() -> AsyncIterator[Out]:
                if stream.content_type != _EVENTS:
                    yield _read(reply, (await stream.answer()).body, self._name, ids)
                    return
                async for event in stream.events():
                    name = None if event.event == "message" else event.event
                    yield _read(reply, event.data, self._name, ids, event=name)

            yield events()

    def _contract(self) -> Contract:
        contract = self._offered.contract
        if contract is None:
            raise HandlerError(f"{self._name}.handle names no types: use the client of this one")
        return contract

    def _body(self, request: Any) -> Any:
        return _write(self._contract().request, request, self._name)


class TypedWebSocketClient(TypedClient[Any, Any], Generic[In, Out]):
    """Connects to an agent whose messages are objects; over HTTP the types are those of its ``handle``."""

    def connect(
        self, *, query: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> TypedConnection[In, Out]:
        """A WebSocket whose messages are objects, opened by ``async with``.

        Args:
            query: Further query parameters.
            headers: Further headers of the upgrade.
        """
        messages = self._messages()
        return TypedConnection(self.client.connect(query=query, headers=headers), messages)

    def _messages(self) -> Contract:
        if self._offered.messages is None:
            raise HandlerError(f"{self._name} names no types for its WebSocket: use the client of this one")
        return self._offered.messages.contract


class TypedConnection(Generic[In, Out]):
    """A WebSocket whose messages are objects, used as an asynchronous context manager and iterated over.

    Args:
        raw: The connection.
        contract: Its messages, as the server names them.
    """

    def __init__(self, raw: Connection, contract: Contract) -> None:
        self.raw = raw
        self._contract = contract

    async def __aenter__(self) -> Self:
        await self.raw.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.raw.__aexit__(kind, error, trace)

    async def __aiter__(self) -> AsyncIterator[Out]:
        async for message in self.raw:
            yield self._read(message)

    async def send(self, message: In) -> None:
        """Send *message* as JSON.

        Raises:
            ValueError: If it is not what the handler takes; nothing is sent then.
            ClientError: As :meth:`Connection.send` says.
        """
        body: bytes = _write(self._contract.request, message, self._contract.name)
        await self.raw.send(body.decode())

    async def receive(self, timeout: float | None = None) -> Out:
        """Return the next message; *timeout* is as for :meth:`Connection.receive`.

        Raises:
            AnswerError: If it is not what the handler says it sends.
            ClientError: As :meth:`Connection.receive` says.
        """
        return self._read(await self.raw.receive(timeout))

    def _read(self, message: str | bytes) -> Out:
        ids = {"session_id": self.raw.session_id}
        refusal = _refusal(message)
        try:
            return _read(self._contract.reply, message, self._contract.name, ids)  # type: ignore[no-any-return]  # by the class
        except AnswerError:
            if refusal is not None:
                raise AnswerError(f"the agent took no message of ours: {refusal}", **ids) from None
            raise


class TypedActionsClient(TypedWebSocketClient[Any, Any], Generic[In, Out]):
    """Runs many invocations on one WebSocket, whose payloads and answers are objects."""

    def actions(self, *, reconnect: Retry | None = None) -> TypedActions[In, Out]:
        """A connection that speaks actions, opened by ``async with``.

        Args:
            reconnect: As for :meth:`InvocationsClient.actions`.
        """
        return TypedActions(self.client.actions(reconnect=reconnect), self._messages())


class TypedActions(Generic[In, Out]):
    """A connection that speaks actions whose payloads are objects.

    Args:
        raw: The connection; for what has no types, such as ``get``, ``cancel`` and ``ping``.
        contract: The types.
    """

    def __init__(self, raw: ActionsConnection, contract: Contract) -> None:
        self.raw = raw
        self._contract = contract

    async def __aenter__(self) -> Self:
        await self.raw.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.raw.__aexit__(kind, error, trace)

    async def invoke(
        self,
        payload: In,
        *,
        invocation_id: str | None = None,
        session_id: str | None = None,
        timeout: float | None = None,
    ) -> Out:
        """Invoke the agent and return its one answer.

        The arguments are as for :meth:`ActionsConnection.invoke`.

        Raises:
            ValueError: If *payload* is not what the handler takes; nothing is sent then.
            AnswerError: If the answer is not what the handler says it gives.
            ClientError: As :meth:`ActionsConnection.invoke` says.
        """
        contract = self._contract
        if contract.streams:
            raise AnswerError(f"{contract.name} streams its answer: use stream")
        sent = self._payload(payload)
        answer = await self.raw.invoke(
            sent, invocation_id=invocation_id, session_id=session_id, timeout=timeout
        )
        return self._read(answer.payload, answer.invocation_id)

    @asynccontextmanager
    async def stream(
        self,
        payload: In,
        *,
        invocation_id: str | None = None,
        session_id: str | None = None,
        idle_timeout: float | None = None,
    ) -> AsyncGenerator[AsyncIterator[Out], None]:
        """Invoke the agent and hand out its chunks as objects; one answer is one of them.

        Leaving the block early cancels the invocation. The arguments are as for
        :meth:`ActionsConnection.stream`, and so are the errors, beside those of :meth:`invoke`.
        """
        sent = self._payload(payload)
        async with self.raw.stream(
            sent, invocation_id=invocation_id, session_id=session_id, idle_timeout=idle_timeout
        ) as stream:

            async def chunks() -> AsyncIterator[Out]:
                async for chunk in stream:
                    yield self._read(chunk, stream.invocation_id)

            yield chunks()

    def _payload(self, payload: Any) -> Any:
        body = _write(self._contract.request, payload, self._contract.name)
        return json.loads(body) if isinstance(body, bytes) else body

    def _read(self, payload: Any, invocation_id: str) -> Out:
        ids = {"invocation_id": invocation_id}
        return _read(self._contract.reply, json.dumps(payload), self._contract.name, ids)  # type: ignore[no-any-return]  # by the class


def _write(codec: Codec | None, value: Any, name: str) -> Any:
    if codec is None:
        return value
    try:
        return codec.encode(value)
    except MismatchError as fault:
        raise ValueError(f"{name} takes something else: {fault}") from None


def _read(
    codec: Codec | None, data: bytes | str, name: str, ids: Mapping[str, Any], *, event: str | None = None
) -> Any:
    try:
        return json.loads(data) if codec is None else codec.decode_event(event, data)
    except MismatchError as fault:
        raise AnswerError(f"the answer is not what {name} gives: {fault}", **ids) from None
    except (ValueError, RecursionError):
        raise AnswerError(f"the answer of {name} is no JSON", **ids) from None


def _refusal(message: str | bytes) -> str | None:
    """What an error frame says; ``None`` if *message* is none."""
    try:
        frame = json.loads(message)
        return str(frame["error"]["message"]) if frame["type"] == "error" else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
