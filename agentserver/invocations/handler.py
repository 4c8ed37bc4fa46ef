"""The classes a user derives from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable
from typing import Any, ClassVar, TypeAlias

from aiohttp import web

from agentserver.errors import NotFoundError
from agentserver.invocations._handler_interface import HTTP, WEBSOCKET, HandlerInterface
from agentserver.invocations.context import InvocationContext
from agentserver.wire import ErrorSource

# A method is an ``async def`` that returns its result, or an async generator that streams it.
Operation: TypeAlias = Awaitable[Any] | AsyncIterator[Any]


class OperationNotFoundError(NotFoundError):
    """The handler does not have this operation; the caller is not to blame."""

    error_source = ErrorSource.UPSTREAM


class InvocationHandler(ABC):
    """Serves the ``invocations`` protocol over HTTP. Only `handle` must be written.

    A new object is made for every request (or one for all, if an instance is registered), so attributes do
    not last from one request to the next: keep such state in a service, by session or invocation id.

    Write each method as ``async def``; the server refuses a sync one when it starts.

    Every method may return any ``web.StreamResponse``; a ``str`` (sent as text); ``bytes``; or anything
    JSON: ``dict``, ``list``, numbers, ``None``, dataclasses. A method written as an async generator streams
    what it yields: ``str`` and ``bytes`` as chunks, `ServerSentEvent` as ``text/event-stream``. Its first
    item decides the content type; before that it may yield a ``web.StreamResponse``, whose status, headers
    and cookies are the stream's:

    .. code-block:: python

        async def handle(self, request, context):
            yield web.StreamResponse(headers={"x-model": "small"})
            yield ServerSentEvent({"delta": "Hello"})

    (.NET's handlers set them on the ``HttpResponse`` they are given. A response object is aiohttp's word
    for that; a mutable one on the context would have to say what it means to handlers that return, and
    after the first byte.)

    Raising `InvocationError` or an aiohttp ``web.HTTPException`` tells the client what is wrong. Any other
    exception is a 500 of which the client learns nothing and the log everything. After the first byte of a
    stream, the connection is cut instead. A client that leaves cancels the running method
    (``asyncio.CancelledError``), as the end of the server's shutdown time-out does.
    """

    _interface: ClassVar[HandlerInterface] = HTTP

    @classmethod
    def _check(cls) -> None:
        """Raise `HandlerError` if an option of the class is wrong; called when the class is registered."""
        return

    @abstractmethod
    def handle(self, request: web.Request, context: InvocationContext) -> Operation:
        """Answer ``POST /invocations``.

        Args:
            request: The request; its body is the agent's own business.
            context: The invocation's ids, client headers, query, isolation keys.
        """

    def get(self, invocation_id: str, request: web.Request, context: InvocationContext) -> Operation:
        """Answer ``GET /invocations/{invocation_id}``; 404 unless overridden.

        Args:
            invocation_id: The id in the path.
            request: The request.
            context: The invocation's ids, client headers, query, isolation keys.
        """
        raise OperationNotFoundError

    def cancel(self, invocation_id: str, request: web.Request, context: InvocationContext) -> Operation:
        """Answer ``POST /invocations/{invocation_id}/cancel``; 404 unless overridden.

        Args:
            invocation_id: The id in the path.
            request: The request.
            context: The invocation's ids, client headers, query, isolation keys.
        """
        raise OperationNotFoundError

    def get_openapi(self, request: web.Request) -> Operation:
        """Answer ``GET /invocations/docs/openapi.json``, *request*; 404 unless overridden."""
        raise OperationNotFoundError

    def get_asyncapi_json(self, request: web.Request) -> Operation:
        """Answer ``GET /invocations/docs/asyncapi.json``, *request*; 404 unless overridden."""
        raise OperationNotFoundError

    def get_asyncapi_yaml(self, request: web.Request) -> Operation:
        """Answer ``GET /invocations/docs/asyncapi.yaml``, *request*; 404 unless overridden.

        A ``str`` is YAML.
        """
        raise OperationNotFoundError


class InvocationWebSocketHandler(InvocationHandler):
    """Serves ``invocations_ws`` as well; `handle` answers 404 until it is overridden."""

    _interface: ClassVar[HandlerInterface] = HTTP | WEBSOCKET

    def handle(self, request: web.Request, context: InvocationContext) -> Operation:
        """Answer ``POST /invocations``; 404 unless overridden. *request* and *context* are as there."""
        raise OperationNotFoundError

    @abstractmethod
    async def handle_websocket(self, websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        """Serve one connection to ``/invocations_ws``.

        The connection is open when this is called and is the handler's from then on. Returning closes it with
        1000, an exception with 1011; a close of the handler's own, with code and reason, stays as it is.
        When the client is gone the method is cancelled.

        Args:
            websocket: The open connection.
            context: As over HTTP; the invocation id is the connection's.
        """
