"""The class from which an agent that speaks the action protocol is derived."""

from __future__ import annotations

import inspect
import math
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic

from aiohttp import web

from agentserver._websocket.response import WebSocket
from agentserver.actions._server_connection import Actions, ActionServerConnection
from agentserver.actions.context import ActionContext
from agentserver.errors import HandlerError, NotFoundError
from agentserver.invocations._handler_definition import names_types
from agentserver.invocations._handler_interface import DURABLE_METHODS, HTTP, WEBSOCKET, HandlerInterface
from agentserver.invocations.context import InvocationContext
from agentserver.invocations.handler import In, InvocationWebSocketHandler, Out
from agentserver.wire import ACTIONS_OPENAPI_ROUTE, ACTIONS_ROUTE

if TYPE_CHECKING:
    from agentserver._typed.contract import Contract
    from agentserver._typed.messages import Messages

__all__ = ["InvocationActionHandler"]


ACTIONS: Final = HandlerInterface(
    {
        "invoke": ("payload", "context"),
        "get_invocation": ("context",),
        "cancel_invocation": ("context",),
        "get_actions_openapi": ("request",),
    },
    {ACTIONS_OPENAPI_ROUTE: ("get_actions_openapi", "application/json")},
    (ACTIONS_ROUTE,),
    {"get_invocation": "return the answer", "cancel_invocation": "return the answer"},
)

_OPTIONS: Final = (
    ("max_concurrent_invocations", int, 1, "a whole number, 1 or more"),
    ("ping_interval", (int, float), 0, "seconds, or 0 for no pings"),
)


class InvocationActionHandler(InvocationWebSocketHandler, Generic[In, Out]):
    """Serves many invocations on one WebSocket, framed as JSON actions. Only `invoke` must be written.

    .. code-block:: python

        class Counter(InvocationActionHandler):
            async def invoke(self, payload, context):
                for number in range(payload["to"]):
                    yield {"number": number}

    ``InvocationActionHandler[Payload, Chunk]`` says what `invoke` takes, and what it gives: it is called with
    an object made of the payload, checked, and each value that it returns or yields is checked. `examples`
    are payloads then. See ``docs/typed.md``.

    One object serves a whole connection, and the invocations of a connection run side by side, so attributes
    are shared between them. `handle` and the other methods for HTTP may be written on the same class.

    Raising `InvocationError` ends an invocation with its code and message. Any other exception ends it with
    ``internal_error``, of which the client learns nothing and the log everything. The connection goes on.

    With ``durable=True`` or `Durable` the class has a ``run`` in place of `invoke`, `get_invocation` and
    `cancel_invocation`: the same runs over actions and over HTTP.

    Attributes:
        max_concurrent_invocations: How many invocations of one connection may run at once, at least 1. One
            more is refused with ``too_many_requests``. As many gets and cancels may be under way.
        ping_interval: Seconds between the server's pings, which keep an idle connection open; 0 is never.
    """

    max_concurrent_invocations: int = 64
    ping_interval: float = 30.0

    _interface: ClassVar[HandlerInterface] = HTTP | WEBSOCKET | ACTIONS
    _durable_methods: ClassVar[tuple[str, ...]] = (
        *DURABLE_METHODS,
        *("invoke", "get_invocation", "cancel_invocation"),
    )
    _durable_actions: None = None

    @classmethod
    def _durable_websocket(cls, calls: Any) -> Any:
        from agentserver.actions._durable import DurableActions  # most agents have no durable runs

        return DurableActions(calls, cls.max_concurrent_invocations, cls.ping_interval)

    _contract: ClassVar[Contract | None] = None

    @classmethod
    def _typed_messages(cls, streaming: frozenset[str]) -> Messages | None:
        if not names_types(cls, InvocationActionHandler, "invoke"):
            return None
        from agentserver.actions._typed_actions import messages_of  # the others do not pay for msgspec

        messages = messages_of(cls, InvocationActionHandler, streams="invoke" in streaming)
        cls._contract = messages.contract
        return messages

    @classmethod
    def _check(cls) -> None:
        for name, kind, least, should in _OPTIONS:
            value: Any = getattr(cls, name)
            if not isinstance(value, kind) or not least <= value < math.inf:
                raise HandlerError(f"{cls.__name__}.{name} is {value!r}: set it to {should}")

    @abstractmethod
    def invoke(self, payload: In, context: ActionContext) -> Awaitable[Out] | AsyncIterator[Out]:
        """Run an invocation: ``async def`` answers once, an async generator streams what it yields.

        It is cancelled (:class:`asyncio.CancelledError`) by a ``cancel_invocation`` and when the connection
        ends. A slow reader makes it wait where it yields.

        Args:
            payload: The ``payload`` of the action, a JSON object (a mapping); or, of a handler with types,
                the object that it was made into.
            context: The invocation's ids, and what the connection's context has.

        Returns:
            A JSON value or a dataclass, as each value that is yielded.
        """

    async def get_invocation(self, context: ActionContext) -> Any:
        """Answer ``get_invocation`` for ``context.invocation_id``; ``not_found`` unless overridden.

        Args:
            context: The ids of the invocation that is asked for, and what the connection's context has.

        Returns:
            A JSON value or a dataclass.

        Raises:
            NotFoundError: Unless overridden.
        """
        raise NotFoundError("This agent does not answer get_invocation")

    async def cancel_invocation(self, context: ActionContext) -> Any:
        """Answer ``cancel_invocation`` for ``context.invocation_id``.

        Unless overridden it cancels the task that runs that invocation, which then ends with the error
        ``cancelled``, and answers ``{"status": "cancelled"}``; with nothing running it is ``not_found``.

        Args:
            context: The ids of the invocation that is to end, and what the connection's context has.

        Returns:
            A JSON value or a dataclass.

        Raises:
            NotFoundError: If nothing runs under that id.
        """
        if not await context.cancel():
            raise NotFoundError("No invocation with this invocation_id is running on this connection")
        return {"status": "cancelled"}

    async def get_actions_openapi(self, request: web.Request) -> Any:
        """Answer *request* for ``/invocations_ws/docs/openapi.json``; as `get_openapi` unless overridden."""
        document = self.get_openapi(request)
        return await document if inspect.isawaitable(document) else document

    async def handle_websocket(self, websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        """Speak the action protocol on one connection until it ends.

        Args:
            websocket: The open connection.
            context: The connection's.

        Raises:
            TypeError: If the server did not open the connection.
        """
        if not isinstance(websocket, WebSocket):
            raise TypeError("actions are spoken on the WebSocket that the server opened, and on no other")
        actions: Actions = self
        if self._contract is not None:
            from agentserver.actions._typed_actions import TypedActions

            actions = TypedActions(self, self._contract)
        await ActionServerConnection(actions, websocket, context).run()
