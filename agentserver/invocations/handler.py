"""The classes a user derives from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeAlias

from aiohttp import web
from typing_extensions import TypeVar

from agentserver.errors import NotFoundError
from agentserver.invocations._handler_interface import DURABLE_METHODS, HTTP, WEBSOCKET, HandlerInterface
from agentserver.invocations.context import InvocationContext
from agentserver.invocations.events import ServerSentEvent
from agentserver.wire import ErrorSource

if TYPE_CHECKING:
    from datetime import timedelta

    from agentserver._typed.messages import Messages
    from agentserver.durable.options import Durable

# A method is an ``async def`` that returns its result, or an async generator that streams it.
Operation: TypeAlias = Awaitable[Any] | AsyncIterator[Any]

In = TypeVar("In", default=Any)
Out = TypeVar("Out", default=Any)


class OperationNotFoundError(NotFoundError):
    """The handler does not have this operation; the caller is not to blame."""

    error_source = ErrorSource.UPSTREAM


class InvocationHandler(ABC, Generic[In, Out]):
    """Serves the ``invocations`` protocol over HTTP. Only `handle` must be written.

    A new object is made for every request (or one for all, if an instance is registered), so attributes do
    not last from one request to the next: keep such state in a service, by session or invocation id.

    Write each method as ``async def``; the server refuses a sync one when it starts.

    ``InvocationHandler[ChatRequest, Reply]`` says what `handle` takes and gives: it is called with an object
    made of the JSON body, checked, and what it returns or yields is checked and sent as JSON or as events.
    See ``docs/typed.md``. What follows is about a handler without types.

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

    Attributes:
        examples: Of a handler with types: bodies that it takes, as objects or as plain JSON. The first is
            shown to those who send a wrong one, and in the document.
        openapi_version: Of a handler with types: the version of its document, ``"3.1"`` or ``"3.2"``.
    """

    examples: ClassVar[Sequence[Any]] = ()
    openapi_version: ClassVar[str] = "3.1"

    _interface: ClassVar[HandlerInterface] = HTTP
    _durable: ClassVar[Durable | None] = None
    _idempotent: ClassVar[timedelta | None] = None
    _durable_methods: ClassVar[tuple[str, ...]] = DURABLE_METHODS

    def __init_subclass__(
        cls,
        *,
        durable: Durable | bool | None = None,
        idempotent: timedelta | bool | None = None,
        **named: Any,
    ) -> None:
        """Take the class arguments.

        Args:
            durable: ``True`` or `Durable`: the class has an ``async def run(self, input, run)``, whose runs
                outlive their request, their client and their process; the framework answers for them.
            idempotent: ``True`` or how long: the repetition of a ``POST``, with the same
                ``x-client-idempotency-key`` or invocation id and the same body, is given the first one's
                answer, which is kept in memory for an hour or that long. A durable class needs none.
            named: For the bases after this one.

        Raises:
            HandlerError: If one is neither, or the class has methods of its own where the framework answers.
        """
        super().__init_subclass__(**named)
        if durable is not None:
            from agentserver.invocations._class_arguments import durable_options, take_over

            cls._durable = durable_options(cls, durable)
            if cls._durable is not None:
                take_over(cls)
        if idempotent is not None:
            from agentserver.invocations._class_arguments import kept_for

            cls._idempotent = kept_for(cls, idempotent)

    @classmethod
    def _check(cls) -> None:
        """Raise `HandlerError` if an option of the class is wrong; called when the class is registered."""
        return

    @classmethod
    def _durable_websocket(cls, calls: Any) -> Any:
        """What serves the WebSocket of a durable class by *calls*; ``None``: the class itself."""
        return None

    @classmethod
    def _typed_messages(cls, streaming: frozenset[str]) -> Messages | None:
        """What its WebSocket speaks, if a protocol of its own says so; called when the class is registered.

        Args:
            streaming: The operations that are async generators.
        """
        return None

    @abstractmethod
    def handle(
        self, request: In, context: InvocationContext
    ) -> Awaitable[Out | web.StreamResponse] | AsyncIterator[Out | web.StreamResponse | ServerSentEvent]:
        """Answer ``POST /invocations``.

        Args:
            request: The ``web.Request``, whose body is the agent's own business; or, of a handler with types,
                the object that the body was made into.
            context: The invocation's ids, client headers, query, isolation keys.
        """

    def get(self, invocation_id: str, request: web.Request, context: InvocationContext) -> Operation:
        """Answer ``GET /invocations/{invocation_id}``; 404 unless overridden.

        Args:
            invocation_id: The id in the path.
            request: The request.
            context: The invocation's ids, client headers, query, isolation keys.

        Raises:
            NotFoundError: Unless overridden.
        """
        raise OperationNotFoundError

    def cancel(self, invocation_id: str, request: web.Request, context: InvocationContext) -> Operation:
        """Answer ``POST /invocations/{invocation_id}/cancel``; 404 unless overridden.

        Args:
            invocation_id: The id in the path.
            request: The request.
            context: The invocation's ids, client headers, query, isolation keys.

        Raises:
            NotFoundError: Unless overridden.
        """
        raise OperationNotFoundError

    def get_openapi(self, request: web.Request) -> Operation:
        """Answer ``GET /invocations/docs/openapi.json``, *request*; 404 unless overridden.

        Raises:
            NotFoundError: Unless overridden.
        """
        raise OperationNotFoundError

    def get_asyncapi_json(self, request: web.Request) -> Operation:
        """Answer ``GET /invocations/docs/asyncapi.json``, *request*; 404 unless overridden.

        Raises:
            NotFoundError: Unless overridden.
        """
        raise OperationNotFoundError

    def get_asyncapi_yaml(self, request: web.Request) -> Operation:
        """Answer ``GET /invocations/docs/asyncapi.yaml``, *request*; 404 unless overridden.

        A ``str`` is YAML.

        Raises:
            NotFoundError: Unless overridden.
        """
        raise OperationNotFoundError


class InvocationWebSocketHandler(InvocationHandler, Generic[In, Out]):
    """Serves ``invocations_ws`` as well; `handle` answers 404 until it is overridden.

    ``InvocationWebSocketHandler[Received, Sent]`` says what its messages are: `handle_websocket` is then
    given a `TypedWebSocket`, of which `examples` are messages. See ``docs/typed.md``.
    """

    _interface: ClassVar[HandlerInterface] = HTTP | WEBSOCKET

    def handle(self, request: Any, context: InvocationContext) -> Operation:
        """Answer ``POST /invocations``; 404 unless overridden. *request* and *context* are as there.

        Its types are those of its annotations; the parameters of the class are the WebSocket's.

        Raises:
            NotFoundError: Unless overridden.
        """
        raise OperationNotFoundError

    @abstractmethod
    async def handle_websocket(self, websocket: Any, context: InvocationContext) -> None:
        """Serve one connection to ``/invocations_ws``.

        The connection is open when this is called and is the handler's from then on. Returning closes it with
        1000, an exception with 1011; a close of the handler's own, with code and reason, stays as it is.
        When the client is gone the method is cancelled.

        Args:
            websocket: The open connection: a ``web.WebSocketResponse``, or a `TypedWebSocket` if the class
                names the types of its messages.
            context: As over HTTP; the invocation id is the connection's.
        """
