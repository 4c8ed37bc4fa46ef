"""What can go wrong on the caller's side.

.. code-block:: text

    ClientError
    ├── UnreachableError        no connection came about: nothing ran, trying again is safe
    ├── LostConnectionError     the connection broke after the request went out: it may have run
    ├── DeadlineError           a time-out passed: it may have run, or run still
    ├── ResponseError           the server answered with an error: status, code, message, source
    │   └── RefusedError        401 or 403: the token is missing, expired or not allowed
    ├── AnswerError             the answer is not what the caller asked it to be read as
    ├── CredentialError         no token could be had
    ├── ConnectionClosedError   a WebSocket is closed: code and reason
    └── ActionError             an action was answered with an error frame: code and message

Every one carries the ids that were known when it happened.
"""

from __future__ import annotations

from collections.abc import Mapping

from agentserver.errors import AgentServerError

__all__ = [
    "ActionError",
    "AnswerError",
    "ClientError",
    "ConnectionClosedError",
    "CredentialError",
    "DeadlineError",
    "LostConnectionError",
    "RefusedError",
    "ResponseError",
    "UnreachableError",
]


class ClientError(AgentServerError):
    """The base of everything the client raises. The message is one sentence that says what to do.

    Args:
        message: The sentence.
        invocation_id: The invocation it happened to, if there was one.
        session_id: The session it happened in, if it was known.
    """

    def __init__(
        self, message: str, *, invocation_id: str | None = None, session_id: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.invocation_id = invocation_id
        self.session_id = session_id


class UnreachableError(ClientError):
    """No connection to the server came about. Nothing ran there."""


class LostConnectionError(ClientError):
    """The connection broke before the answer was complete. The request may have run."""


class DeadlineError(ClientError, TimeoutError):
    """A time-out of the caller's passed. The request may have run, or may run still."""


class AnswerError(ClientError, ValueError):
    """The answer cannot be read as what the caller asked for, such as JSON."""


class CredentialError(ClientError):
    """No token could be had, or it may not be sent to this address."""


class ResponseError(ClientError):
    """The server answered with an error (contract, section 4).

    Args:
        status: The HTTP status, 300 to 599.
        code: The ``code`` of the error envelope, or ``http_STATUS`` when the answer had no envelope.
        message: The ``message`` of the envelope, or what a proxy on the way said.
        source: ``user``, ``platform`` or ``upstream``; None when the answer did not say.
        detail: The platform's own words, on platform errors alone.
        request_id: The ``x-request-id`` to give to whoever reads the server's log.
        retry_after: Seconds the server asked to wait.
        headers: All the response headers.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        source: str | None = None,
        detail: str | None = None,
        invocation_id: str | None = None,
        session_id: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, invocation_id=invocation_id, session_id=session_id)
        self.status = status
        self.code = code
        self.source = source
        self.detail = detail
        self.request_id = request_id
        self.retry_after = retry_after
        self.headers = headers or {}

    @property
    def temporary(self) -> bool:
        """Whether the server, or a proxy before it, said: not now. That is 429, 502, 503 or 504."""
        return self.status in {429, 502, 503, 504}

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.message}"


class RefusedError(ResponseError):
    """401 or 403: the token is missing, has expired, or its owner may not call this agent."""


class ConnectionClosedError(ClientError):
    """A WebSocket is closed.

    Args:
        code: The close code that was really exchanged; 1006 when the connection just broke.
        reason: The peer's reason, often empty.
        session_id: The session, to be resumed by connecting with it again.
    """

    def __init__(self, code: int, reason: str = "", *, session_id: str | None = None) -> None:
        words = f"the connection was closed with code {code}"
        super().__init__(f"{words}: {reason}" if reason else words, session_id=session_id)
        self.code = code
        self.reason = reason


class ActionError(ClientError):
    """An action was answered with an error frame (contract, section 6).

    Args:
        code: The ``code`` of the frame.
        message: The ``message`` of the frame.
    """

    def __init__(
        self, code: str, message: str, *, invocation_id: str | None = None, session_id: str | None = None
    ) -> None:
        super().__init__(message, invocation_id=invocation_id, session_id=session_id)
        self.code = code

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"
