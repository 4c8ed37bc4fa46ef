"""What a durable handler may meet."""

from __future__ import annotations

from agentserver.errors import AgentServerError

__all__ = ["StepFailedError"]


class StepFailedError(AgentServerError):
    """A step has failed for good, its retries included; the same now and when the run is repeated.

    Args:
        step: The name of the step.
        kind: The name of the exception's class.
        message: What the exception said.
        code: What a client is told, if the step raised `InvocationError`; else ``None``.
    """

    def __init__(self, step: str, kind: str, message: str, code: str | None = None) -> None:
        super().__init__(f"the step {step!r} failed: {kind}" + (f": {message}" if message else ""))
        self.step = step
        self.kind = kind
        self.message = message
        self.code = code
