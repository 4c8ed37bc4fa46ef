"""The endpoints of a durable handler (contract, section 11): start, poll, read on, cancel, signal, list."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Final, NoReturn, cast

from aiohttp import HttpVersion11, hdrs, web

from agentserver._hosting.protocol import HostContext
from agentserver._http.error_response import to_json
from agentserver._http.exchange import Exchange
from agentserver._http.router import Endpoint, Route
from agentserver.durable._engine import StoreUnavailableError
from agentserver.durable._feed import EventsGoneError, StreamsEndError
from agentserver.durable._records import Event, RunRecord
from agentserver.errors import BadRequestError, NotFoundError
from agentserver.invocations._durable_calls import RETRY_AFTER, DurableCalls, begun, standing
from agentserver.invocations._endpoints import Endpoints
from agentserver.invocations._handler_definition import HandlerDefinition, is_ours
from agentserver.invocations._handler_factory import HandlerFactory
from agentserver.invocations.context import InvocationContext
from agentserver.wire import (
    ACTIONS_OPENAPI_ROUTE,
    ACTIONS_ROUTE,
    IDEMPOTENCY_HEADERS,
    IDEMPOTENCY_REPLAYED_HEADER,
    LAST_EVENT_ID_HEADER,
    LAST_EVENT_ID_QUERY,
    OPENAPI_ROUTE,
    SESSION_ID_HEADER,
    SIGNAL_ROUTE,
    is_valid_id,
)

_EVENTS: Final = "text/event-stream"
_OPENAPI: Final = ("get_openapi", "get_actions_openapi")
_RECONNECT_FIRST: Final = b"retry: 1000\n\n"


class DurableEndpoints(Endpoints):
    """Answers for a durable handler; `Endpoints` does for its documents.

    Args:
        definition: What the handler offers.
        factory: Makes the handler object of an attempt.
        host: The host that is served.
        calls: The handler's runs.
    """

    def __init__(
        self,
        definition: HandlerDefinition,
        factory: HandlerFactory,
        host: HostContext,
        calls: DurableCalls,
    ) -> None:
        super().__init__(definition, factory, host)
        self._calls = calls
        self._definition = definition

    def routes(self) -> list[Route]:
        """The routes of every handler, the list of runs, and the way in for signals."""
        first, *others = super().routes()
        return [
            first._replace(endpoints={**first.endpoints, "GET": self.list}),
            *others,
            Route(SIGNAL_ROUTE, "signal_invocation", {"POST": self.signal}, self._known_invocation),
        ]

    async def invoke(self, request: web.Request, exchange: Exchange) -> web.StreamResponse:
        """Answer ``POST /invocations``."""
        context = self._new_invocation(request, exchange)
        key = next((request.headers[name] for name in IDEMPOTENCY_HEADERS if name in request.headers), None)
        created = await self._calls.begin(context, request.headers, _parsed(await request.read()), key)
        run = created.run
        headers: dict[str, str] = {}
        if not created.is_new:
            self._identify(request, exchange, run)
            headers[IDEMPOTENCY_REPLAYED_HEADER] = "true"
        if _wants_events(request):
            return await self._stream(request, run, 0, headers)
        if run.status.is_terminal:
            return _json(begun(created), headers=headers)
        location = f"{request.path.rstrip('/')}/{run.asked.invocation_id}"
        return _json(begun(created), 202, {**headers, **RETRY_AFTER, "Location": location})

    def _by_id(self, operation: str) -> Endpoint:
        return self.get if operation == "get" else self.cancel

    def _document(self, operation: str, content_type: str) -> Endpoint:
        if not self._writes(operation):
            return super()._document(operation, content_type)
        made: dict[str, bytes] = {}

        async def endpoint(request: web.Request, exchange: Exchange) -> web.StreamResponse:
            if self._session_id:
                exchange.headers = {SESSION_ID_HEADER: self._session_id}
            path = request.rel_url.raw_path.rstrip("/")
            server = path.removesuffix(OPENAPI_ROUTE).removesuffix(ACTIONS_OPENAPI_ROUTE)
            if server not in made:
                from agentserver.invocations._durable_documents import written  # no start pays for documents

                made[server] = written(self._definition, self._calls.types, operation, server)
            return web.Response(body=made[server], content_type=content_type)

        return endpoint

    def _writes(self, operation: str) -> bool:
        """Whether the framework writes the document that *operation* answers with."""
        offered = self._definition
        if operation not in _OPENAPI:
            return ACTIONS_ROUTE in offered.interface.websockets and is_ours(offered.type, operation)
        return all(is_ours(offered.type, name) for name in _OPENAPI if name in offered.interface.operations)

    async def get(self, request: web.Request, exchange: Exchange) -> web.StreamResponse:
        """Answer ``GET /invocations/{invocation_id}``."""
        run = await self._known_run(request, exchange)
        if _wants_events(request) and request.method != hdrs.METH_HEAD:
            return await self._stream(request, run, _cursor(request), {})
        return _json(run.snapshot(), headers={} if run.status.is_terminal else RETRY_AFTER)

    async def cancel(self, request: web.Request, exchange: Exchange) -> web.StreamResponse:
        """Answer ``POST /invocations/{invocation_id}/cancel``."""
        run = await self._calls.cancel(await self._known_run(request, exchange))
        return _json(standing(run), 200 if run.status.is_terminal else 202)

    async def signal(self, request: web.Request, exchange: Exchange) -> web.StreamResponse:
        """Answer ``POST /invocations/{invocation_id}/signal``."""
        run = await self._known_run(request, exchange)
        parsed = _parsed(await request.read())
        body = cast("dict[str, Any]", parsed) if isinstance(parsed, dict) else {}
        name = body.get("name")
        if not isinstance(name, str) or not is_valid_id(name):
            raise BadRequestError(
                'The body must be {"name": …, "payload": …}, the name 1 to 256 letters, digits or . _ : -'
            )
        await self._calls.signal(run, name, body.get("payload"))
        return _json({**standing(run), "status": "accepted"}, 202)

    async def list(self, request: web.Request, _exchange: Exchange) -> web.StreamResponse:
        """Answer ``GET /invocations``: the caller's own runs, newest first."""
        context = InvocationContext(invocation_id="-", session_id="-", headers=request.headers)
        return _json(await self._calls.list(context, request.query))

    async def _known_run(self, request: web.Request, exchange: Exchange) -> RunRecord:
        context = self._known_invocation(request, exchange)
        if context.invocation_id != exchange.parameter:
            raise NotFoundError("There is no such invocation")
        run = await self._calls.find(context, context.invocation_id)
        self._identify(request, exchange, run)
        return run

    def _identify(self, request: web.Request, exchange: Exchange, run: RunRecord) -> None:
        self._context(request, exchange, run.asked.invocation_id, run.asked.session_id, request.query)

    async def _stream(
        self, request: web.Request, run: RunRecord, after: int, headers: dict[str, str]
    ) -> web.StreamResponse:
        following = self._calls.follow(run, after)
        response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: _EVENTS, **headers})
        if request.version < HttpVersion11:
            response.force_close()
        await response.prepare(request)
        await response.write(_RECONNECT_FIRST)
        name = run.asked.invocation_id
        last = "done"
        async with aclosing(following) as pages:
            last = await _send_all(response, pages)
        end = to_json({"type": last, "invocation_id": name})
        await response.write(f"event: {last}\ndata: {end}\n\n".encode())
        await response.write_eof()
        return response


async def _send_all(response: web.StreamResponse, pages: AsyncGenerator[Sequence[Event], None]) -> str:
    """Send *pages* as they come; the word that says why there are no more."""
    try:
        async for page in pages:
            await response.write(b"".join(map(_frame, page)))
    except EventsGoneError:
        return "superseded"
    except (StreamsEndError, StoreUnavailableError):
        return "reconnect"
    return "done"


def _frame(event: Event) -> bytes:
    kind = f"event: {event.kind}\n" if event.kind else ""
    return f"id: {event.id}\n{kind}data: {event.data}\n\n".encode()


def _parsed(body: bytes) -> Any:
    if not body.strip():
        return None
    try:
        return json.loads(body, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError):
        raise BadRequestError("The body is not JSON") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)  # NaN and Infinity are Python's alone


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(digits)
    return number


def _cursor(request: web.Request) -> int:
    text = request.query.get(LAST_EVENT_ID_QUERY) or request.headers.get(LAST_EVENT_ID_HEADER) or "0"
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise BadRequestError(f"{LAST_EVENT_ID_QUERY} must be the number of an event")
    return int(text)


def _wants_events(request: web.Request) -> bool:
    return _EVENTS in request.headers.get(hdrs.ACCEPT, "").lower()


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    body = to_json(value, ascii_only=True).encode()
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)
