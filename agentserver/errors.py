"""The exceptions of the framework, and what each becomes on the wire.

.. code-block:: text

    AgentServerError
    ├── StartupError                 the process ends with one line and its exit_code
    │   ├── ConfigurationError       a variable or an option has a value that cannot be used
    │   ├── HandlerError             the handler class cannot serve
    │   └── ServiceError             a constructor asks for something nobody registered
    ├── InvocationError              a handler tells the client what is wrong: code and message reach it
    │   ├── BadRequestError          400 invalid_request
    │   ├── NotFoundError            404 not_found
    │   ├── PayloadTooLargeError     413 payload_too_large
    │   └── TooManyRequestsError     429 too_many_requests, with Retry-After
    └── PlatformError                the hosting platform failed: 500 internal_error, with the detail header

Any other exception of a handler is a 500 ``internal_error`` of which nothing reaches the client.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from agentserver.wire import (
    ERROR_DETAIL_MAX_LENGTH,
    ERROR_DETAIL_TRUNCATED,
    INTERNAL_ERROR_MESSAGE,
    ErrorCode,
    ErrorSource,
)

__all__ = [
    "AgentServerError",
    "BadRequestError",
    "ConfigurationError",
    "ErrorSource",
    "Failure",
    "HandlerError",
    "InvocationError",
    "NotFoundError",
    "PayloadTooLargeError",
    "PlatformError",
    "ServiceError",
    "StartupError",
    "TooManyRequestsError",
    "classify",
    "text_of",
]


_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class AgentServerError(Exception):
    """The base of every exception the framework raises on purpose."""


class StartupError(AgentServerError):
    """The server cannot start. The message is one sentence that says what is wrong and what to do."""

    exit_code = 1


class ConfigurationError(StartupError):
    """An environment variable or an option has a value that cannot be used."""

    exit_code = 2


class HandlerError(StartupError):
    """A handler class cannot serve: abstract, a sync method, a wrong signature."""


class ServiceError(StartupError):
    """A constructor asks for a service that is missing, circular or of a too short lifetime."""


class InvocationError(AgentServerError):
    """Tell the client what is wrong; raised by a handler, on HTTP and on the action protocol alike.

    Args:
        code: A short machine-readable word, such as ``"quota_exceeded"``.
        message: A sentence for the caller. It goes over the wire as it is: no secrets.
        status: The HTTP status, 400 to 599. The action protocol has none.
        headers: Further response headers, such as ``Retry-After``.

    Raises:
        ValueError: If *status* is outside 400 to 599, or a header has a control character in it.
    """

    error_source: ErrorSource | None = None
    """Who is to blame; by default the user for a 4xx and the agent (``upstream``) for a 5xx."""

    details: Mapping[str, object] = MappingProxyType({})
    """What programs are told beside code and message, as further members of ``error``; anything JSON."""

    def __init__(
        self, code: str, message: str, *, status: int = 400, headers: Mapping[str, str] | None = None
    ) -> None:
        if not 400 <= status <= 599:
            raise ValueError(f"status is {status}, but an error needs a status from 400 to 599")
        for name, value in (headers or {}).items():
            if not f"{name}{value}".isprintable():
                raise ValueError(f"the header {name!r} of an error must be printable, got {value!r}")
        super().__init__(message)
        self.code = str(code.value if isinstance(code, ErrorCode) else code)
        self.message = message
        self.status = status
        self.headers = {str(name): str(value) for name, value in (headers or {}).items()}

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class BadRequestError(InvocationError):
    """The request cannot be understood: 400 ``invalid_request``."""

    def __init__(self, message: str = "Bad request") -> None:
        super().__init__(ErrorCode.INVALID_REQUEST, message)


class NotFoundError(InvocationError):
    """There is no such invocation or document: 404 ``not_found``."""

    def __init__(self, message: str = "Not found") -> None:
        super().__init__(ErrorCode.NOT_FOUND, message, status=404)


class PayloadTooLargeError(InvocationError):
    """The request body is over the limit: 413 ``payload_too_large``.

    Args:
        limit: The limit in bytes, told to the client.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(
            ErrorCode.PAYLOAD_TOO_LARGE, f"The request body is larger than {limit} bytes", status=413
        )
        self.limit = limit


class TooManyRequestsError(InvocationError):
    """The agent is busy: 429 ``too_many_requests``.

    Args:
        message: A sentence for the caller.
        retry_after: Whole seconds the caller should wait (RFC 9110, section 10.2.3).
    """

    def __init__(self, message: str = "Too many requests", *, retry_after: int = 1) -> None:
        super().__init__(
            ErrorCode.TOO_MANY_REQUESTS, message, status=429, headers={"Retry-After": str(retry_after)}
        )


class PlatformError(AgentServerError):
    """The hosting platform failed, not the agent: 500 with ``x-platform-error-source: platform``.

    Raise it ``from`` the exception that the platform's service gave. Any other exception is treated the
    same way when it carries ``error_source = ErrorSource.PLATFORM`` as an attribute.
    """

    error_source = ErrorSource.PLATFORM


class Failure(NamedTuple):
    """What an exception becomes on the wire (contract, section 4)."""

    status: int
    code: str
    message: str
    source: ErrorSource
    detail: str | None = None
    headers: Mapping[str, str] = _NOTHING
    details: Mapping[str, object] = _NOTHING

    @property
    def expected(self) -> bool:
        """Whether the handler meant it: an expected failure is logged without a stack."""
        return self.code != ErrorCode.INTERNAL_ERROR.value


def classify(error: BaseException) -> Failure:
    """Say what *error* becomes on the wire. Pure; nothing of an unexpected exception is in the result."""
    if isinstance(error, InvocationError):
        source = error.error_source or (ErrorSource.USER if error.status < 500 else ErrorSource.UPSTREAM)
        return Failure(
            error.status, error.code, error.message, source, headers=error.headers, details=error.details
        )
    detail = None
    source = ErrorSource.UPSTREAM
    if _is_platforms(error):
        source = ErrorSource.PLATFORM
        detail = _detail(error)
    return Failure(500, ErrorCode.INTERNAL_ERROR.value, INTERNAL_ERROR_MESSAGE, source, detail)


def text_of(error: BaseException) -> str:
    """``str(error)``; of an exception that cannot even say what it is, that."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - somebody else's code, on the way of an error
        return f"<{type(error).__name__} without a text: its __str__ raises>"


def _is_platforms(error: BaseException) -> bool:
    try:
        return bool(getattr(error, "error_source", None) == ErrorSource.PLATFORM)
    except Exception:  # noqa: BLE001 - as above: a property may raise
        return False


def _detail(error: BaseException) -> str:
    is_shell = isinstance(error, PlatformError) and not error.args
    cause = (error.__cause__ if is_shell else None) or error
    text = f"{type(cause).__name__}: {text_of(cause)}"
    # Beyond ASCII a header value is obsolete text (RFC 9110, section 5.5): visible ASCII and spaces stay.
    clean = "".join(c if " " <= c <= "~" else "?" if c > "\x9f" else "" for c in text)
    if len(clean) > ERROR_DETAIL_MAX_LENGTH:
        clean = clean[: ERROR_DETAIL_MAX_LENGTH - len(ERROR_DETAIL_TRUNCATED)] + ERROR_DETAIL_TRUNCATED
    return clean
