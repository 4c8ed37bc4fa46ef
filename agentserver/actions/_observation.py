"""One action as the log and telemetry see it."""

from __future__ import annotations

import logging
from contextvars import Token
from time import perf_counter
from types import TracebackType

from typing_extensions import Self

from agentserver._http.exchange import Exchange, current_exchange
from agentserver._telemetry.observer import ActionScope
from agentserver.errors import Failure, classify
from agentserver.invocations.context import InvocationContext
from agentserver.wire import ErrorCode

__all__ = ["Observation"]

logger = logging.getLogger("agentserver.actions")


class Observation:
    """Around one action, in the task that serves it: log records and spans made there carry its ids.

    An exception that leaves it means that the connection is gone. At level ``DEBUG`` each action leaves a
    line in the log that says how it ended.

    Args:
        operation: ``invoke``, ``get_invocation`` or ``cancel_invocation``.
        context: The ids.
    """

    def __init__(self, operation: str, context: InvocationContext) -> None:
        self._operation = operation
        self._context = context
        self._scope: ActionScope | None = None
        self._error: BaseException | None = None
        self._code = ""
        self._ended = "done"
        self._started = perf_counter()
        self._before: Token[Exchange | None] | None = None

    def __enter__(self) -> Self:
        connection = current_exchange.get()
        if connection is None:
            return self
        ids = {"invocation_id": self._context.invocation_id, "session_id": self._context.session_id}
        exchange = Exchange(connection.request_id, connection.incoming, connection.parent)
        exchange.correlation = ids
        self._before = current_exchange.set(exchange)
        if connection.observer is not None:
            self._scope = connection.observer.action(self._operation, **ids)
        return self

    def failed(self, error: BaseException) -> Failure:
        """The handler failed; an error that it did not mean to tell the client goes to the log."""
        failure = classify(error)
        self._error, self._code = error, failure.code
        self._ended = f"{failure.code}: {failure.message}"
        if not failure.expected:
            logger.error("%s failed", self._operation, exc_info=error)
        return failure

    def cancelled(self) -> None:
        """The client has cancelled it."""
        self._code = self._ended = ErrorCode.CANCELLED.value

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is GeneratorExit:
            return  # The loop is gone, and with it the context and whoever would be told.
        if error is not None:
            self.cancelled()
        if self._scope is not None:
            self._scope.end(self._error, self._code)
        milliseconds = (perf_counter() - self._started) * 1000
        logger.debug("%s %s after %.1f ms", self._operation, self._ended, milliseconds)
        if self._before is not None:
            current_exchange.reset(self._before)
