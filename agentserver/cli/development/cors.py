"""Lets pages of another origin call an agent during development (WHATWG Fetch, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from agentserver.wire import (
    ERROR_DETAIL_HEADER,
    ERROR_SOURCE_HEADER,
    INVOCATION_ID_HEADER,
    REQUEST_ID_HEADER,
    SERVER_HEADER,
    SESSION_ID_HEADER,
)

__all__ = ["allow_origins"]

# What a page may read beside the few headers that every page may.
_EXPOSED: Final = ", ".join(
    (
        INVOCATION_ID_HEADER,
        SESSION_ID_HEADER,
        REQUEST_ID_HEADER,
        SERVER_HEADER,
        ERROR_SOURCE_HEADER,
        ERROR_DETAIL_HEADER,
        "retry-after",
    )
)


def allow_origins(app: web.Application, origins: Sequence[str]) -> None:
    """Let pages of *origins* call what *app* serves, and read its answers.

    Args:
        app: The application, not yet started.
        origins: Such as ``http://localhost:3000``; ``*`` is every one.
    """

    def is_allowed(request: web.Request) -> bool:
        return "*" in origins or request.headers.get(hdrs.ORIGIN) in origins

    @web.middleware
    async def answer_preflight(request: web.Request, handler: Handler) -> web.StreamResponse:
        asked = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_METHOD)
        if request.method != hdrs.METH_OPTIONS or asked is None:
            return await handler(request)
        headers = {hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, POST"}
        if hdrs.ACCESS_CONTROL_REQUEST_HEADERS in request.headers:
            headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = request.headers[hdrs.ACCESS_CONTROL_REQUEST_HEADERS]
        return web.Response(status=204, headers=headers)

    async def stamp(request: web.Request, response: web.StreamResponse) -> None:
        if hdrs.ORIGIN in request.headers and is_allowed(request):
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = request.headers[hdrs.ORIGIN]
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _EXPOSED
        response.headers.add(hdrs.VARY, hdrs.ORIGIN)

    app.middlewares.insert(0, answer_preflight)
    app.on_response_prepare.append(stamp)
