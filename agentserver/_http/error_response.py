"""The one error envelope, and what becomes of whatever a request's path raises (contract, section 4)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from agentserver.errors import Failure, classify
from agentserver.wire import ErrorCode, ErrorSource

_CODES: Final[Mapping[int, str]] = {
    400: ErrorCode.INVALID_REQUEST.value,
    404: ErrorCode.NOT_FOUND.value,
    405: ErrorCode.METHOD_NOT_ALLOWED.value,
    413: ErrorCode.PAYLOAD_TOO_LARGE.value,
    429: ErrorCode.TOO_MANY_REQUESTS.value,
    500: ErrorCode.INTERNAL_ERROR.value,
    503: ErrorCode.UNAVAILABLE.value,
}
# Headers that describe the body an error brought, which the envelope replaces.
_BODY_HEADERS: Final = frozenset({"content-type", "content-length", "content-encoding", "transfer-encoding"})


def to_json(value: Any, default: Callable[[Any], Any] | None = None, *, ascii_only: bool = False) -> str:
    """*value* as JSON without spaces, as the other implementations of the contract write it.

    Raises:
        TypeError: If there is something in it that neither JSON nor *default* has a form for.
        ValueError: If there is a NaN or an infinity in it (RFC 8259, section 6).
    """
    return json.dumps(value, default=default, ensure_ascii=ascii_only, allow_nan=False, separators=(",", ":"))


def error_response(failure: Failure) -> web.Response:
    """Build the response that tells a client of *failure*: ``{"error": {"code": …, "message": …}}``."""
    envelope = {"error": {"code": failure.code, "message": failure.message, **failure.details}}
    return web.Response(
        status=failure.status,
        body=to_json(envelope).encode("utf-8", "replace"),
        content_type="application/json",
        headers=[
            (name, value) for name, value in failure.headers.items() if name.lower() not in _BODY_HEADERS
        ],
    )


def failure_of(error: BaseException, request: web.BaseRequest) -> Failure:
    """Say what *error*, raised while *request* was served, becomes on the wire."""
    if isinstance(error, web.HTTPException):
        return _http_failure(error)
    from agentserver._http.body_errors import complaint  # most requests do not fail

    message = complaint(error, request)
    if message is not None:
        return Failure(400, ErrorCode.INVALID_REQUEST.value, message, ErrorSource.USER)
    return classify(error)


def _http_failure(error: web.HTTPException) -> Failure:
    status = error.status
    text = error.text
    message = error.reason if not text or text == f"{status}: {error.reason}" else text
    source = ErrorSource.USER if status < 500 else ErrorSource.UPSTREAM
    return Failure(status, code_of(status), message, source, headers=error.headers)


def code_of(status: int) -> str:
    """The envelope's code for a bare HTTP status: the contract's word, else the status phrase."""
    known = _CODES.get(status)
    if known is not None:
        return known
    try:
        return HTTPStatus(status).phrase.lower().replace(" ", "_").replace("-", "_").replace("'", "")
    except ValueError:
        return ErrorCode.INVALID_REQUEST.value if status < 500 else ErrorCode.INTERNAL_ERROR.value
