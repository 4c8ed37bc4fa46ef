"""Calls that a handler makes: they carry the trace of the request that it serves."""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.client_middlewares import ClientHandlerType, ClientMiddlewareType
from yarl import URL

from agentserver._telemetry import trace_context as w3c
from agentserver._telemetry.correlation import CurrentRequest, current_request
from agentserver._telemetry.observer import OPENTELEMETRY
from agentserver.environment import FoundryEnvironment
from agentserver.wire import CALL_ID_HEADER, USER_ID_HEADER


def client_session(*, environment: FoundryEnvironment | None = None, **options: Any) -> aiohttp.ClientSession:
    """Make an aiohttp session for the calls of a handler.

    Each call carries ``traceparent``, ``tracestate`` and ``baggage`` of the invocation during which it is
    made; calls to the origin of ``FOUNDRY_PROJECT_ENDPOINT`` carry the platform's call id as well. The user
    id is taken off every call: it must not leave the container (contract, section 2). Headers that the
    handler sets itself stay as they are.

    One session for the process is enough: ``builder.services.add_singleton(aiohttp.ClientSession,
    client_session)`` gives it to every handler that asks for an ``aiohttp.ClientSession``, and closes it.

    Args:
        environment: Instead of the process's own.
        options: As for ``aiohttp.ClientSession``; middlewares of yours run before ours.

    Raises:
        RuntimeError: If no event loop runs.
    """
    platform = _origin((environment or FoundryEnvironment.read()).project_endpoint)
    middlewares = (*options.pop("middlewares", ()), _propagation(platform))
    return aiohttp.ClientSession(middlewares=middlewares, **options)


def _propagation(platform: URL | None) -> ClientMiddlewareType:
    async def propagate(request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
        current = current_request.get()
        for name, value in _trace_headers(current).items():
            request.headers.setdefault(name, value)
        if current is not None and platform is not None and request.url.origin() == platform:
            call_id = current.incoming.get(CALL_ID_HEADER, "").strip()
            if call_id:
                request.headers.setdefault(CALL_ID_HEADER, call_id)
        request.headers.popall(USER_ID_HEADER, None)
        return await handler(request)

    return propagate


def _trace_headers(current: CurrentRequest | None) -> dict[str, str]:
    if OPENTELEMETRY in sys.modules:
        from opentelemetry import propagate

        sent: dict[str, str] = {}
        propagate.inject(sent)
        return sent
    return {} if current is None else w3c.outgoing(current.incoming, current.correlation)


def _origin(endpoint: str) -> URL | None:
    parts = urlsplit(endpoint)
    return URL(endpoint).origin() if parts.scheme in {"http", "https"} and parts.hostname else None
