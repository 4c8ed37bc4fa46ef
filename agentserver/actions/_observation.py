"""One action as the log and telemetry see it."""

from __future__ import annotations

import logging
from contextvars import Token
from types import TracebackType

from typing_extensions import Self

from agentserver._telemetry.correlation import CurrentRequest, current_request
from agentserver._telemetry.observer import ActionObservation
from agentserver.errors import Failure, classify
from agentserver.invocations.context import InvocationContext
from agentserver.wire import ErrorCode

__all__ = ["Observation"]

logger = logging.getLogger("agentserver.actions")


class Observation:
    """Around one action, in the task that serves it: log records and spans made there carry its ids.

    An exception that leaves it means that the connection is gone.

    Args:
        operation: ``invoke``, ``get_invocation`` or ``cancel_invocation``.
        context: The ids.
    """

    def __init__(self, operation: str, context: InvocationContext) -> None:
        self._operation = operation
        self._context = context
        self._scope: ActionObservation | None = None
        self._error: BaseException | None = None
        self._code = ""
        self._before: Token[CurrentRequest | None] | None = None

    def __enter__(self) -> Self:
        connection = current_request.get()
        if connection is None:
            return self
        ids = {"invocation_id": self._context.invocation_id, "session_id": self._context.session_id}
        action = CurrentRequest(connection.request_id, connection.incoming, connection.parent)
        action.correlation = ids
        self._before = current_request.set(action)
        if connection.observation is not None:
            self._scope = connection.observation.action(self._operation, **ids)
        return self

    def failed(self, error: BaseException) -> Failure:
        """The handler failed; an error that it did not mean to tell the client goes to the log."""
        failure = classify(error)
        self._error, self._code = error, failure.code
        if not failure.expected:
            logger.error("%s failed", self._operation, exc_info=error)
        return failure

    def cancelled(self) -> None:
        """The client has cancelled it."""
        self._code = ErrorCode.CANCELLED.value

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.cancelled()
        if self._scope is not None:
            self._scope.end(self._error, self._code)
        if self._before is not None:
            current_request.reset(self._before)
