"""From what a handler returns or yields to a response."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, cast

from aiohttp import HttpVersion11, hdrs, web

from agentserver._http.error_response import to_json
from agentserver.invocations.events import ServerSentEvent

_TEXT = "text/plain; charset=utf-8"
_BYTES = "application/octet-stream"
_JSON = "application/json"
_EVENTS = "text/event-stream"
_WITHOUT_BODY = frozenset({204, 205, 304})
_HEAD_FIRST = (
    "a handler yielded a response in its stream: yield a web.StreamResponse first, for status and headers,"
    " then the parts; or return the response"
)


async def to_response(
    request: web.Request, result: Any, text_type: str | None = None, *, method: Callable[..., Any]
) -> web.StreamResponse:
    """Make the response for what a handler returned.

    Args:
        request: The request that is answered.
        result: A response, text, bytes, an async iterator, or anything JSON.
        text_type: The content type of a document, given as text or bytes; by default text is ``text/plain``
            and bytes are ``application/octet-stream``.
        method: What gave it, for the sentence of an error.

    Raises:
        TypeError: If *result* is none of these.
    """
    if isinstance(result, web.StreamResponse):
        return result
    if isinstance(result, str):
        return web.Response(body=result.encode(), headers={"Content-Type": text_type or _TEXT})
    if isinstance(result, (bytes, bytearray)):
        return web.Response(body=bytes(result), headers={"Content-Type": text_type or _BYTES})
    if isinstance(result, AsyncIterator):
        return await stream(request, cast("AsyncIterator[object]", result), text_type)
    return web.Response(body=_json_of(result, method), headers={"Content-Type": _JSON})


def _json_of(result: Any, method: Callable[..., Any]) -> bytes:
    """*result* of *method* as JSON; a mistake is said with the name of both."""
    if result is None:
        from agentserver.invocations._handler_mistakes import warn_of_nothing

        warn_of_nothing(method)
    try:
        return encode_json(result)
    except (TypeError, ValueError, RecursionError) as error:
        from agentserver.invocations._handler_mistakes import not_json

        raise not_json(method, error) from error


def encode_json(value: Any) -> bytes:
    """*value* as JSON in UTF-8; dataclasses become objects.

    Raises:
        TypeError: If there is something in it that JSON has no form for.
        ValueError: If there is a NaN or an infinity in it (RFC 8259, section 6).
    """
    try:
        return to_json(value, _json_default).encode()
    except UnicodeEncodeError:
        # Lone surrogates, as header bytes that are no UTF-8 become: JSON can escape them.
        return to_json(value, _json_default, ascii_only=True).encode()


def _json_default(value: Any) -> Any:
    if isinstance(value, ServerSentEvent):
        raise TypeError("a ServerSentEvent is for an event stream: yield it")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise TypeError(f"there is no JSON for {type(value).__name__}")


async def stream(
    request: web.Request, items: AsyncIterator[Any], text_type: str | None = None
) -> web.StreamResponse:
    """Send what *items* yields as it comes; *text_type* is as for `to_response`.

    The first item is awaited before the headers go out: it decides the content type, and an error before it
    is still a proper error response. Before it may come a response without a body, for status and headers.
    """
    try:
        first = await anext(items, "")
        if isinstance(first, web.StreamResponse):
            response = _checked_head(first)
            first = await anext(items, "")
        else:
            response = web.StreamResponse()
        chunk = _chunk(first)
        response.headers.setdefault(hdrs.CONTENT_TYPE, _type_of(first, text_type))
        if request.version < HttpVersion11:
            response.force_close()  # without chunks only the end of the connection ends the stream
        await response.prepare(request)
        if request.method != hdrs.METH_HEAD and response.status not in _WITHOUT_BODY:
            # What response.write() calls once it has looked whether it may.
            write = request.writer.write
            await write(chunk)
            async for item in items:
                await write(item.encode() if type(item) is ServerSentEvent else _chunk(item))
        await response.write_eof()
    finally:
        if isinstance(items, AsyncGenerator):
            await items.aclose()
    return response


def _checked_head(response: web.StreamResponse) -> web.StreamResponse:
    if isinstance(response, web.Response) or response.prepared:
        raise TypeError(_HEAD_FIRST)
    return response


def _type_of(item: Any, text_type: str | None) -> str:
    if isinstance(item, ServerSentEvent):
        return _EVENTS
    return text_type or (_TEXT if isinstance(item, str) else _BYTES)


def _chunk(item: Any) -> bytes | bytearray:
    if isinstance(item, (str, ServerSentEvent)):
        return item.encode()
    if isinstance(item, (bytes, bytearray)):
        return item
    if isinstance(item, web.StreamResponse):
        raise TypeError(_HEAD_FIRST)
    raise TypeError(
        f"a handler yielded {type(item).__name__}: "
        "yield str, bytes or a ServerSentEvent; json.dumps makes a str"
    )
