"""The endpoints of the ``invocations`` protocol: resolve ids, build the context, call the handler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from aiohttp import web
from multidict import MultiDict, MultiDictProxy, MultiMapping

from agentserver._hosting.protocol import HostContext
from agentserver._http.exchange import Exchange
from agentserver._http.ids import new_uuid
from agentserver._http.router import Endpoint, Route
from agentserver.invocations._handler_definition import HandlerDefinition
from agentserver.invocations._handler_factory import HandlerFactory
from agentserver.invocations._ids import first_valid
from agentserver.invocations._responses import stream, to_response
from agentserver.invocations.context import InvocationContext
from agentserver.wire import (
    CANCEL_ROUTE,
    INVOCATION_ID_HEADER,
    INVOCATION_ROUTE,
    INVOCATIONS_ROUTE,
    SESSION_ID_HEADER,
    SESSION_ID_QUERY,
    is_valid_id,
)

_NO_QUERY: Final = MultiDictProxy(MultiDict[str]())


class Endpoints:
    """Calls the handler for each route of the protocol.

    Args:
        definition: What the handler offers.
        factory: Makes the handler object of a request.
        host: The host that is served.
    """

    def __init__(self, definition: HandlerDefinition, factory: HandlerFactory, host: HostContext) -> None:
        self._factory = factory
        self._streaming = definition.streaming
        self._documents = definition.interface.documents
        session_id = host.environment.session_id
        self._session_id = session_id if is_valid_id(session_id) else ""
        self._shutting_down = host.lifetime.shutting_down
        self._limiter = host.limiter
        self._direct = not (factory.needs_scope or "handle" in definition.streaming or host.limiter)

    def routes(self) -> list[Route]:
        """The protocol's routes over HTTP; the documents stand before the path of an id."""
        documents = [
            Route(path, operation, {"GET": self._document(operation, content_type)})
            for path, (operation, content_type) in self._documents.items()
        ]
        return [
            Route(INVOCATIONS_ROUTE, "invoke", {"POST": self.invoke}, self._new_invocation),
            *documents,
            Route(INVOCATION_ROUTE, "get_invocation", {"GET": self._by_id("get")}, self._known_invocation),
            Route(CANCEL_ROUTE, "cancel_invocation", {"POST": self._by_id("cancel")}, self._known_invocation),
        ]

    async def invoke(self, request: web.Request, exchange: Exchange) -> web.StreamResponse:
        """Answer ``POST /invocations``."""
        context = self._new_invocation(request, exchange)
        if self._direct:
            # The way of most requests, without a detour.
            handler: Any = self._factory.create()
            result = await handler.handle(request, context)
            return result if isinstance(result, web.Response) else await to_response(request, result)
        if self._limiter is None:
            return await self._call(request, "handle", lambda handler: handler.handle(request, context))
        async with self._limiter.slot(context.session_id):
            return await self._call(request, "handle", lambda handler: handler.handle(request, context))

    def _by_id(self, operation: str) -> Endpoint:
        async def endpoint(request: web.Request, exchange: Exchange) -> web.StreamResponse:
            context = self._known_invocation(request, exchange)
            return await self._call(
                request,
                operation,
                lambda handler: getattr(handler, operation)(context.invocation_id, request, context),
            )

        return endpoint

    def _document(self, operation: str, content_type: str) -> Endpoint:
        async def endpoint(request: web.Request, exchange: Exchange) -> web.StreamResponse:
            if self._session_id:
                exchange.headers = {SESSION_ID_HEADER: self._session_id}
            return await self._call(
                request, operation, lambda handler: getattr(handler, operation)(request), content_type
            )

        return endpoint

    def _new_invocation(self, request: web.Request, exchange: Exchange) -> InvocationContext:
        supplied = request.headers.get(INVOCATION_ID_HEADER)
        invocation_id = new_uuid() if supplied is None else first_valid(supplied)
        if "?" not in request._message.path:
            session_id = self._session_id or new_uuid()
            return self._context(request, exchange, invocation_id, session_id, _NO_QUERY)
        session_id = first_valid(request.query.get(SESSION_ID_QUERY), self._session_id)
        return self._context(request, exchange, invocation_id, session_id, request.query)

    def _known_invocation(self, request: web.Request, exchange: Exchange) -> InvocationContext:
        invocation_id = first_valid(exchange.parameter)
        return self._context(request, exchange, invocation_id, first_valid(self._session_id), request.query)

    def _context(
        self,
        request: web.Request,
        exchange: Exchange,
        invocation_id: str,
        session_id: str,
        query: MultiMapping[str],
    ) -> InvocationContext:
        exchange.identify(
            {"invocation_id": invocation_id, "session_id": session_id},
            {INVOCATION_ID_HEADER: invocation_id, SESSION_ID_HEADER: session_id},
        )
        return InvocationContext(
            invocation_id=invocation_id,
            session_id=session_id,
            headers=request.headers,
            query=query,
            shutting_down=self._shutting_down,
        )

    async def _call(
        self,
        request: web.Request,
        operation: str,
        invoke: Callable[[Any], Any],
        text_type: str | None = None,
    ) -> web.StreamResponse:
        streams = operation in self._streaming
        if not self._factory.needs_scope:
            return await _respond(request, invoke(self._factory.create()), text_type, streams=streams)
        async with self._factory.scope() as handler:
            response = await _respond(request, invoke(handler), text_type, streams=streams)
            # Services of the request must live until its last byte has gone out.
            await response.prepare(request)
            await response.write_eof()
            return response


async def _respond(
    request: web.Request, result: Any, text_type: str | None, *, streams: bool
) -> web.StreamResponse:
    if streams:
        return await stream(request, result, text_type)
    return await to_response(request, await result, text_type)
