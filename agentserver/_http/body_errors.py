"""Which errors say that a request's body cannot be read, and what its client is told then.

What a parser raises is the client's fault only if it was about this very body: a handler may parse other
texts too, and when one of those is broken the agent has failed. So an error has to show what it is about, by
the text that it carries, or by the frames that it came through: a frame of ``json`` knows what it was given,
and a frame of aiohttp whose body it read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import FrameType
from typing import Final

from aiohttp import web

from agentserver._http.aiohttp_internals import ServedRequest, body_read, parses_body
from agentserver.errors import text_of

_MALFORMED: Final = "The request body is malformed"
_NOT_JSON: Final = "The request body is not valid JSON text"
_TOO_DEEP: Final = "The request body is nested too deeply"
_TOO_LONG: Final = "The request body has a number with too many digits"
_NOT_UTF_8: Final = "The request body is not valid UTF-8 text"
_NOT_ITS_CHARSET: Final = "The request body is not valid text in its charset"
_CHARSET_UNKNOWN: Final = "The charset of the request body is not known"
_SENTENCES: Final[Mapping[type[BaseException], str]] = {
    json.JSONDecodeError: _NOT_JSON,
    UnicodeError: _NOT_ITS_CHARSET,
    LookupError: _CHARSET_UNKNOWN,
    RecursionError: _TOO_DEEP,
}

# The methods of a request that read its body.
_REQUESTS: Final = frozenset({web.BaseRequest.__module__, ServedRequest.__module__})
_READING: Final = frozenset({"read", "text", "json", "post", "multipart"})
# Whose frames may stand between the reading of a body and the error: anybody else's error is its own.
_PARSERS: Final = frozenset({"agentserver", "aiohttp", "base64", "codecs", "encodings", "json", "urllib"})


def complaint(error: BaseException, request: web.BaseRequest) -> str | None:
    """The sentence for the client if *error* is about the body of *request*; ``None`` if it is not."""
    if isinstance(error, web.RequestPayloadError):
        return _MALFORMED
    # The errors of what parses bodies; a LookupError is a charset's, other RuntimeErrors are multipart's.
    if not isinstance(error, (ValueError, LookupError, RuntimeError, AssertionError)):
        return None
    if _carries_body(error, request) or _came_from_body(error, request):
        return _sentence(error)
    return None


def _sentence(error: BaseException) -> str:
    if isinstance(error, UnicodeDecodeError) and error.encoding == "utf-8":
        return _NOT_UTF_8
    if isinstance(error, ValueError) and "integer string conversion" in text_of(error):
        return _TOO_LONG
    return next((sentence for kind, sentence in _SENTENCES.items() if isinstance(error, kind)), _MALFORMED)


def _carries_body(error: BaseException, request: web.BaseRequest) -> bool:
    body = body_read(request)
    if body is None:
        return False
    if isinstance(error, UnicodeDecodeError):
        return error.object == body
    if isinstance(error, json.JSONDecodeError):
        return error.doc in _texts(body, request.charset)
    return type(error) is LookupError and str(error) == f"unknown encoding: {request.charset}"


def _came_from_body(error: BaseException, request: web.BaseRequest) -> bool:
    came = False
    for frame in _frames(error):
        module: str = frame.f_globals.get("__name__", "")
        is_parser = module.partition(".")[0] in _PARSERS
        came = (came and is_parser) or _reads_body(module, frame, request)
    return came


def _reads_body(module: str, frame: FrameType, request: web.BaseRequest) -> bool:
    """Whether *frame*, of *module*, reads or parses the body of *request*."""
    local = frame.f_locals
    if module in _REQUESTS:
        return frame.f_code.co_name in _READING and local.get("self") is request
    if module == "aiohttp.multipart":
        return parses_body(local.get("self"), request)
    body = body_read(request) if module == "json.decoder" else None
    return body is not None and local.get("s") in _texts(body, request.charset)


def _frames(error: BaseException) -> Iterator[FrameType]:
    traceback = error.__traceback__
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


def _texts(body: bytes, charset: str | None) -> list[str]:
    """*body* as `json` may have been given it: decoded as its client says, or as json itself sees fit."""
    texts: list[str] = []
    for encoding in {charset or "utf-8", json.detect_encoding(body)}:
        with suppress(LookupError, ValueError):
            texts.append(body.decode(encoding, "surrogatepass"))  # as json does
    return texts
