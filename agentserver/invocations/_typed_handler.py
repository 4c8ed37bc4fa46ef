"""A handler with types, as the endpoints call one without: bodies become objects, objects bytes.

It stands between the endpoints and the user's handler, so that neither knows of the other's form. Loaded
only for a handler that names its types.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Final

import msgspec
from aiohttp import web

from agentserver._typed.codec import Codec, MismatchError, UnsupportedTypeError
from agentserver._typed.contract import Contract
from agentserver._typed.engine import codec_for
from agentserver._typed.names import name_of
from agentserver._typed.parameters import UNSAID, parameters_of, without
from agentserver.errors import HandlerError
from agentserver.invocations._handler_factory import HandlerFactory
from agentserver.invocations._handler_interface import check_openapi_version
from agentserver.invocations.events import ServerSentEvent
from agentserver.invocations.handler import InvocationHandler, OperationNotFoundError
from agentserver.wire import ACTIONS_OPENAPI_ROUTE, OPENAPI_ROUTE

_JSON: Final = "application/json"
_AS_IT_IS: Final = (web.StreamResponse, web.BaseRequest, ServerSentEvent)


def contract_of(handler: type[InvocationHandler], *, streams: bool, examples: Sequence[Any] = ()) -> Contract:
    """What *handler* takes and gives over HTTP.

    Args:
        handler: The class.
        streams: Whether it is an async generator.
        examples: Bodies that it takes, as objects or as plain JSON.

    Raises:
        HandlerError: If that cannot be read, written or told apart.
    """
    taken, given = parameters_of(handler, InvocationHandler, "handle", "request", _AS_IT_IS)
    request = codec_of(handler, "takes", without(taken, _AS_IT_IS))
    reply = codec_of(handler, "gives", without(given, _AS_IT_IS), by_class=streams)
    check_openapi_version(handler)
    if streams and reply is not None:
        _refuse_unspeakable(handler, reply)
    plain = [example_of(handler, request, example) for example in examples]
    return Contract(handler.__name__, request, reply, streams=streams, examples=plain)


def _refuse_unspeakable(handler: type, reply: Codec) -> None:
    for name, _ in reply.events():
        if name is not None and any(character in name for character in "\r\n\0"):
            raise HandlerError(
                f"{handler.__name__} gives events of the name {name!r}, and no name may have a line break"
                " or a NUL: write another Literal"
            )


def codec_of(handler: type, verb: str, declared: Any, *, by_class: bool = False) -> Codec | None:
    """What reads and writes the type that *handler* *verb*, ``"takes"``; ``None`` if it does not say.

    Raises:
        HandlerError: If nothing could.
    """
    if declared is UNSAID:
        return None
    try:
        return codec_for(declared, by_class=by_class)
    except UnsupportedTypeError as error:
        raise HandlerError(f"{handler.__name__} {verb} {name_of(declared)}, but {error}") from error


def example_of(handler: type, request: Codec | None, example: Any) -> Any:
    """An *example* that *handler* gives, as plain JSON.

    Raises:
        HandlerError: If it is not what *request* reads.
    """
    if request is None:
        raise HandlerError(f"{handler.__name__} gives examples of what it takes, but does not say its type")
    try:
        encoded = (
            msgspec.json.encode(example) if isinstance(example, (dict, list)) else request.encode(example)
        )
        request.decode(encoded)
    except (MismatchError, TypeError) as error:
        raise HandlerError(f"an example of {handler.__name__} is not what it takes: {error}") from error
    return msgspec.json.decode(encoded)


class TypedHandlerFactory:
    """Makes handlers that the endpoints can call, around those of *inner*.

    Args:
        inner: Makes the user's.
        around: Makes one that can be called, of one of the user's.
    """

    def __init__(self, inner: HandlerFactory, around: Callable[[Any], Any]) -> None:
        self._inner = inner
        self._around = around

    @property
    def needs_scope(self) -> bool:
        """As the user's."""
        return self._inner.needs_scope

    def create(self) -> Any:
        """Make one at once."""
        return self._around(self._inner.create())

    def scope(self, brought: Mapping[type[Any], Any] | None = None) -> AbstractAsyncContextManager[Any]:
        """Open the scope of one request."""
        return self._scope(brought)

    @asynccontextmanager
    async def _scope(self, brought: Mapping[type[Any], Any] | None) -> AsyncGenerator[Any, None]:
        async with self._inner.scope(brought) as handler:
            yield self._around(handler)


def handler_around(handler: type[InvocationHandler], contract: Contract) -> Callable[[Any], Any]:
    """What makes, of an object of *handler*, one that the endpoints of HTTP can call."""
    kind = StreamingHandler if contract.streams else ReplyingHandler
    return partial(kind, face=_Face(handler, contract))


class _Face:
    """What all objects of a handler's class share: the contract, and documents that were asked for."""

    def __init__(self, handler: type[InvocationHandler], contract: Contract) -> None:
        self.contract = contract
        self.takes_objects = contract.request is not None
        self._handler = handler
        self._documents: dict[str, bytes] = {}
        self._heads: dict[str | None, bytes] = {}

    def openapi(self, server: str) -> bytes:
        document = self._documents.get(server)
        if document is None:
            from agentserver.invocations._typed_documents import openapi_of  # no start pays for documents

            document = msgspec.json.encode(openapi_of(self._handler, self.contract, server))
            self._documents[server] = document
        return document

    def frame(self, item: Any) -> bytes:
        """The bytes of an event that carries *item*."""
        if isinstance(item, ServerSentEvent):
            text = self.contract.write(item.data).decode()
            return ServerSentEvent(
                text, item.event or self._event_of(item.data), item.id, item.retry
            ).encode()
        data = self.contract.write(item)
        name = self._event_of(item)
        head = self._heads.get(name)
        if head is None:
            head = b"data: " if name is None else f"event: {name}\ndata: ".encode()
            self._heads[name] = head
        return b"%b%b\n\n" % (head, data)

    def _event_of(self, item: Any) -> str | None:
        assert self.contract.reply is not None
        return self.contract.reply.event_of(item)


class _TypedHandler:
    """One handler object of the user's; whatever has no types is passed on to it."""

    __slots__ = ("_face", "_handler")

    def __init__(self, handler: InvocationHandler, face: _Face) -> None:
        self._handler = handler
        self._face = face

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handler, name)

    def get_openapi(self, request: web.Request) -> Any:
        """Answer with the handler's own document if it has one, else with the one of its types."""
        if type(self._handler).get_openapi is not InvocationHandler.get_openapi:
            return self._handler.get_openapi(request)
        return self._document(request)

    async def get_actions_openapi(self, request: web.Request) -> Any:
        """As `get_openapi`, for a handler that speaks actions too."""
        try:
            handler: Any = self._handler
            return await handler.get_actions_openapi(request)
        except OperationNotFoundError:
            return await self._document(request)

    async def _document(self, request: web.Request) -> bytes:
        path = request.rel_url.raw_path.rstrip("/")
        server = path.removesuffix(OPENAPI_ROUTE).removesuffix(ACTIONS_OPENAPI_ROUTE)
        return self._face.openapi(server)

    async def _taken(self, request: web.Request) -> Any:
        face = self._face
        return face.contract.read(await request.read()) if face.takes_objects else request

    async def _events(
        self, request: web.Request, context: Any, items: Any = None
    ) -> AsyncGenerator[Any, None]:
        """What the handler yields, as the bytes of events; *items* if it has been called already."""
        if items is None:
            items = self._handler.handle(await self._taken(request), context)
        frame = self._face.frame
        try:
            first = await anext(items, UNSAID)
            head = first if isinstance(first, web.StreamResponse) else web.StreamResponse()
            head.headers.setdefault("Content-Type", "text/event-stream")
            yield head
            if first is not head and first is not UNSAID:
                yield frame(first)
            async for item in items:
                yield frame(item)
        finally:
            if isinstance(items, AsyncGenerator):
                await items.aclose()


class ReplyingHandler(_TypedHandler):
    """One whose ``handle`` returns."""

    __slots__ = ()

    async def handle(self, request: web.Request, context: Any) -> Any:
        """Answer with what the handler gives for the object in the body."""
        handle: Any = self._handler.handle
        result = await handle(await self._taken(request), context)
        contract = self._face.contract
        if isinstance(result, web.StreamResponse) or contract.reply is None:
            return result
        if isinstance(result, AsyncIterator):
            return self._events(request, context, result)
        return web.Response(body=contract.write(result), headers={"Content-Type": _JSON})


class StreamingHandler(_TypedHandler):
    """One whose ``handle`` yields."""

    __slots__ = ()

    def handle(self, request: web.Request, context: Any) -> AsyncIterator[Any]:
        """Yield what the handler yields for the object in the body."""
        if self._face.contract.reply is None:
            return self._unchecked(request, context)
        return self._events(request, context)

    async def _unchecked(self, request: web.Request, context: Any) -> AsyncGenerator[Any, None]:
        items: Any = self._handler.handle(await self._taken(request), context)
        try:
            async for item in items:
                yield item
        finally:
            await items.aclose()
