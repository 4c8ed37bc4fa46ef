"""From what a handler returns or yields to a response."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, cast

from aiohttp import hdrs, web

from agentserver.invocations.events import ServerSentEvent

_TEXT = "text/plain; charset=utf-8"
_BYTES = "application/octet-stream"
_JSON = "application/json"
_EVENTS = "text/event-stream"


async def to_response(request: web.Request, result: Any, text_type: str = _TEXT) -> web.StreamResponse:
    """Make the response for what a handler returned.

    Args:
        request: The request that is answered.
        result: A response, text, bytes, an async iterator, or anything JSON.
        text_type: The content type of text.

    Raises:
        TypeError: If *result* is none of these.
    """
    if isinstance(result, web.StreamResponse):
        return result
    if isinstance(result, str):
        return web.Response(body=result.encode(), headers={"Content-Type": text_type})
    if isinstance(result, (bytes, bytearray)):
        return web.Response(body=bytes(result), headers={"Content-Type": _BYTES})
    if isinstance(result, AsyncIterator):
        return await stream(request, cast("AsyncIterator[object]", result))
    return web.Response(body=encode_json(result), headers={"Content-Type": _JSON})


def encode_json(value: Any) -> bytes:
    """*value* as JSON in UTF-8; dataclasses become objects.

    Raises:
        TypeError: If there is something in it that JSON has no form for.
        ValueError: If there is a NaN or an infinity in it (RFC 8259, section 6).
    """
    return json.dumps(value, default=_json_default, ensure_ascii=False, allow_nan=False).encode()


def _json_default(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise TypeError(
        f"a handler returned {type(value).__name__}: return a web.Response, str, bytes, or something JSON"
    )


async def stream(request: web.Request, items: AsyncIterator[Any]) -> web.StreamResponse:
    """Send what *items* yields as it comes.

    The first item is awaited before the headers go out: it decides the content type, and an error before it
    is still a proper error response.
    """
    try:
        first = await anext(items, None)
        response = web.StreamResponse(headers={"Content-Type": _type_of(first)})
        await response.prepare(request)
        if first is not None and request.method != hdrs.METH_HEAD:
            await response.write(_chunk(first))
            async for item in items:
                await response.write(_chunk(item))
        await response.write_eof()
    finally:
        if isinstance(items, AsyncGenerator):
            await items.aclose()
    return response


def _type_of(item: Any) -> str:
    if isinstance(item, ServerSentEvent):
        return _EVENTS
    return _BYTES if isinstance(item, bytes) else _TEXT


def _chunk(item: Any) -> bytes:
    if isinstance(item, ServerSentEvent):
        return item.encode()
    if isinstance(item, str):
        return item.encode()
    if isinstance(item, bytes):
        return item
    raise TypeError(
        f"a handler yielded {type(item).__name__}: "
        "yield str, bytes or a ServerSentEvent; json.dumps makes a str"
    )
