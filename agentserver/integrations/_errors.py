"""What a caller is told when the model, or another service that the agent needs, does not answer."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from agentserver.errors import InvocationError, text_of
from agentserver.wire import ErrorCode

logger = logging.getLogger("agentserver.integrations")

_MESSAGE: Final = "A service that the agent needs does not answer; try again later"
_RETRY_AFTER: Final = "5"
# How the libraries below the frameworks call it when no answer came at all.
_WITHOUT_ANSWER: Final = frozenset(
    {
        *("APIConnectionError", "APITimeoutError", "ModelAPIError"),
        *("ConnectError", "ConnectTimeout", "ReadTimeout", "ReadError", "RemoteProtocolError"),
    }
)
_CLIENTS: Final = frozenset({"openai", "pydantic_ai", "httpx", "httpx2", "httpcore", "httpcore2"})
_BUSY: Final = frozenset({408, 429})


@contextmanager
def unavailable() -> Generator[None, None, None]:
    """Around a turn: a model that is busy, failing or away becomes 503 ``unavailable``.

    All else stays as it is, and reaches the caller as ``internal_error`` without a word of it.

    Raises:
        InvocationError: Instead of such an exception, and caused by it. The log has its text.
    """
    try:
        yield
    except InvocationError:
        raise
    except Exception as error:
        cause = unanswered(error)
        if cause is None:
            raise
        logger.warning("no answer from a service: %s: %s", type(cause).__name__, text_of(cause))
        raise InvocationError(
            ErrorCode.UNAVAILABLE, _MESSAGE, status=503, headers={"Retry-After": _RETRY_AFTER}
        ) from error


def unanswered(error: BaseException) -> BaseException | None:
    """The exception that *error* is or was caused by, if it says that a service did not answer."""
    # Only what was raised "from" it: an error in the handling of another is an error of its own.
    cause: BaseException | None = error
    while cause is not None and not _says_so(cause):
        cause = cause.__cause__
    return cause


def _says_so(error: BaseException) -> bool:
    kind = type(error)
    if kind.__module__.partition(".")[0] not in _CLIENTS:
        return False
    status: object = getattr(error, "status_code", None)
    if isinstance(status, int):
        return status in _BUSY or status >= 500
    return kind.__name__ in _WITHOUT_ANSWER
