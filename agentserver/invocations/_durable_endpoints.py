"""The endpoints of a durable handler (contract, section 11): start, poll, read on, cancel, signal, list."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import aclosing
from typing import Any, Final, TypeVar, cast

from aiohttp import HttpVersion11, hdrs, web

from agentserver._hosting.protocol import HostContext
from agentserver._http.error_response import to_json
from agentserver._http.exchange import Exchange
from agentserver._http.router import Endpoint, Route
from agentserver.durable._engine import Filter, StoreUnavailableError
from agentserver.durable._feed import EventsGoneError, StreamsEndError
from agentserver.durable._records import Created, Event, NewRun, RunRecord, Status
from agentserver.durable._values import ValueRefusedError, encode
from agentserver.errors import BadRequestError, InvocationError, NotFoundError
from agentserver.invocations._durable_service import DurableService, kept_headers, owner_of
from agentserver.invocations._endpoints import Endpoints
from agentserver.invocations._handler_definition import HandlerDefinition
from agentserver.invocations._handler_factory import HandlerFactory
from agentserver.invocations.context import InvocationContext
from agentserver.wire import (
    IDEMPOTENCY_HEADERS,
    IDEMPOTENCY_REPLAYED_HEADER,
    LAST_EVENT_ID_HEADER,
    LAST_EVENT_ID_QUERY,
    SIGNAL_ROUTE,
    ErrorCode,
    is_valid_id,
)

T = TypeVar("T")

_EVENTS: Final = "text/event-stream"
_RETRY_AFTER: Final = {"Retry-After": "1"}
_RECONNECT_FIRST: Final = b"retry: 1000\n\n"
_MOST_LISTED: Final = 500


class DurableEndpoints(Endpoints):
    """Answers for a durable handler; `Endpoints` does for its documents.

    Args:
        definition: What the handler offers.
        factory: Makes the handler object of an attempt.
        host: The host that is served.
        service: The handler's runs.
    """

    def __init__(
        self,
        definition: HandlerDefinition,
        factory: HandlerFactory,
        host: HostContext,
        service: DurableService,
    ) -> None:
        super().__init__(definition, factory, host)
        self._service = service
        self._runs = service.runs

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
        new = await self._asked(request, context)
        created = await _stored(self._runs.submit(new))
        run = created.run
        if not created.is_new:
            if (run.asked.owner, run.asked.digest) != (new.owner, new.digest):
                raise InvocationError(
                    "idempotency_conflict", "This id or key belongs to another input", status=409
                )
            self._identify(request, exchange, run)
        headers = {} if created.is_new else {IDEMPOTENCY_REPLAYED_HEADER: "true"}
        if _wants_events(request):
            return await self._stream(request, run, 0, headers)
        if run.status.is_terminal:
            return _json(run.snapshot(), headers=headers)
        location = f"{request.path.rstrip('/')}/{run.asked.invocation_id}"
        return _json(_begun(created), 202, {**headers, **_RETRY_AFTER, "Location": location})

    def _by_id(self, operation: str) -> Endpoint:
        return self.get if operation == "get" else self.cancel

    async def get(self, request: web.Request, exchange: Exchange) -> web.StreamResponse:
        """Answer ``GET /invocations/{invocation_id}``."""
        run = await self._known_run(request, exchange)
        if _wants_events(request) and request.method != hdrs.METH_HEAD:
            return await self._stream(request, run, _cursor(request), {})
        return _json(run.snapshot(), headers={} if run.status.is_terminal else _RETRY_AFTER)

    async def cancel(self, request: web.Request, exchange: Exchange) -> web.StreamResponse:
        """Answer ``POST /invocations/{invocation_id}/cancel``."""
        known = await self._known_run(request, exchange)
        run = await _stored(self._runs.cancel(known.asked.invocation_id)) or known
        return _json({"status": run.state, **_ids(run)}, 200 if run.status.is_terminal else 202)

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
        payload = self._as_json(body.get("payload"), "the payload")
        if not await _stored(self._runs.signal(run.asked.invocation_id, name, payload)):
            raise InvocationError("run_ended", "The run has ended", status=409)
        return _json({"status": "accepted", **_ids(run)}, 202)

    async def list(self, request: web.Request, _exchange: Exchange) -> web.StreamResponse:
        """Answer ``GET /invocations``: the caller's own runs, newest first."""
        owner = owner_of(InvocationContext(invocation_id="-", session_id="-", headers=request.headers))
        query = request.query
        try:
            status = Status(query["status"]) if "status" in query else None
            limit = int(query.get("limit", "50"))
        except ValueError:
            limit, status = 0, None
        if not 1 <= limit <= _MOST_LISTED:
            words = ", ".join(status.value for status in Status)
            raise BadRequestError(f"limit must be from 1 to {_MOST_LISTED}, and status one of {words}")
        which = Filter(owner, status, query.get("agent_session_id"), query.get("before"), limit)
        runs = await _stored(self._runs.list(which))
        told: dict[str, Any] = {"runs": [_summary(run) for run in runs]}
        if len(runs) == limit:
            told["before"] = runs[-1].asked.invocation_id
        return _json(told)

    async def _asked(self, request: web.Request, context: InvocationContext) -> NewRun:
        key = next((request.headers[name] for name in IDEMPOTENCY_HEADERS if name in request.headers), None)
        if key is not None and not is_valid_id(key):
            raise BadRequestError("The idempotency key must be 1 to 256 letters, digits or any of . _ : -")
        body = await request.read()
        value = _parsed(body)
        self._service.read(value)  # what cannot be read is refused now, not in the run
        return NewRun(
            invocation_id=context.invocation_id,
            session_id=context.session_id,
            owner=owner_of(context),
            key=key,
            digest=hashlib.sha256(body).hexdigest(),
            handler=self._runs.name,
            input=self._as_json(value, "the body"),
            headers=kept_headers(request.headers),
            created=self._runs.clock(),
        )

    def _as_json(self, value: Any, what: str) -> str:
        try:
            return encode(value, what, self._runs.durable.max_value_size)
        except ValueRefusedError:
            raise InvocationError("payload_too_large", f"The run cannot store {what}", status=413) from None

    async def _known_run(self, request: web.Request, exchange: Exchange) -> RunRecord:
        context = self._known_invocation(request, exchange)
        run = await _stored(self._runs.get(context.invocation_id))
        if run is None or run.asked.owner != owner_of(context) or context.invocation_id != exchange.parameter:
            raise NotFoundError("There is no such invocation")
        self._identify(request, exchange, run)
        return run

    def _identify(self, request: web.Request, exchange: Exchange, run: RunRecord) -> None:
        self._context(request, exchange, run.asked.invocation_id, run.asked.session_id, request.query)

    async def _stream(
        self, request: web.Request, run: RunRecord, after: int, headers: dict[str, str]
    ) -> web.StreamResponse:
        if not run.has_events:
            raise InvocationError("gone", "The events of this run are no longer kept", status=410)
        response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: _EVENTS, **headers})
        if request.version < HttpVersion11:
            response.force_close()
        await response.prepare(request)
        await response.write(_RECONNECT_FIRST)
        name = run.asked.invocation_id
        last = "done"
        async with aclosing(self._runs.follow(name, after)) as pages:
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


async def _stored(asking: Awaitable[T]) -> T:
    try:
        return await asking
    except StoreUnavailableError:
        raise InvocationError(
            ErrorCode.UNAVAILABLE, "Runs cannot be stored now", status=503, headers=_RETRY_AFTER
        ) from None


def _parsed(body: bytes) -> Any:
    if not body.strip():
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequestError("The body is not JSON") from None


def _cursor(request: web.Request) -> int:
    text = request.query.get(LAST_EVENT_ID_QUERY) or request.headers.get(LAST_EVENT_ID_HEADER) or "0"
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise BadRequestError(f"{LAST_EVENT_ID_QUERY} must be the number of an event")
    return int(text)


def _wants_events(request: web.Request) -> bool:
    return _EVENTS in request.headers.get(hdrs.ACCEPT, "").lower()


def _ids(run: RunRecord) -> dict[str, str]:
    return {"invocation_id": run.asked.invocation_id, "session_id": run.asked.session_id}


def _begun(created: Created) -> dict[str, Any]:
    run = created.run
    place = {"position": created.position} if created.is_new and run.status is Status.QUEUED else {}
    return {"status": run.state, **_ids(run), **place}


def _summary(run: RunRecord) -> dict[str, Any]:
    return {name: value for name, value in run.snapshot().items() if name != "output"}


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    body = to_json(value, ascii_only=True).encode()
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)
