"""What a durable handler is given: the run that it is an attempt of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

from agentserver.durable.errors import StepFailedError

if TYPE_CHECKING:
    from agentserver.durable._steps import Steps

__all__ = ["Run", "StepFailedError"]

T = TypeVar("T")


class Run:
    """One run of a durable handler, from its first attempt to its last.

    After a crash the handler's ``run`` is called again from its beginning, and every step that was recorded
    gives its recorded result at once. So what has an effect outside, or comes out differently each time (the
    clock, chance, a model), belongs into a step; the rest must do the same again.

    Args:
        attempt: What carries it out; the framework makes the run and gives it to the handler.
    """

    __slots__ = ("_attempt",)

    def __init__(self, attempt: Steps) -> None:
        self._attempt = attempt

    @property
    def invocation_id(self) -> str:
        """The id of the invocation."""
        return self._attempt.record.asked.invocation_id

    @property
    def session_id(self) -> str:
        """The session that it belongs to."""
        return self._attempt.record.asked.session_id

    @property
    def headers(self) -> Mapping[str, str]:
        """What every attempt keeps of the request: ``x-client-*`` headers, the platform's ids; lower case."""
        return self._attempt.headers

    @property
    def attempt(self) -> int:
        """1, and 1 more for each try of a step that failed and was followed by another; no crash counts."""
        return self._attempt.retries + 1

    @property
    def recovered(self) -> bool:
        """Whether this goes on with what another process has begun."""
        return self._attempt.record.recoveries > 0

    @property
    def superseded(self) -> bool:
        """Whether a later input of the session waits for this run to end, with ``busy="steer"``."""
        return self._attempt.is_superseded

    @property
    def cancelled(self) -> bool:
        """Whether somebody has cancelled the run."""
        return self._attempt.is_cancelled

    @property
    def shutting_down(self) -> bool:
        """Whether the process is about to end; the run goes on in the next one, with what is recorded."""
        return self._attempt.is_parked

    @property
    def step_key(self) -> str:
        """Inside a step: a key that is the same for every try of it, for effects that must happen once.

        Raises:
            RuntimeError: Outside a step.
        """
        return self._attempt.step_key()

    @overload
    def step(
        self,
        name: str,
        function: Callable[..., Awaitable[T]],
        /,
        *arguments: Any,
        retries: int | None = None,
        timeout: float | None = None,
        **named: Any,
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def step(
        self,
        name: str,
        function: Callable[..., T],
        /,
        *arguments: Any,
        retries: int | None = None,
        timeout: float | None = None,
        **named: Any,
    ) -> Coroutine[Any, Any, T]: ...
    def step(
        self,
        name: str,
        function: Callable[..., Any],
        /,
        *arguments: Any,
        retries: int | None = None,
        timeout: float | None = None,
        **named: Any,
    ) -> Coroutine[Any, Any, Any]:
        """Call *function* and record its result; if that is recorded already, give it.

        .. code-block:: python

            plan = await run.step("plan", self.model.plan, topic)
            parts = await asyncio.gather(*(run.step("write", self.model.write, part) for part in plan))

        The result comes back as JSON carries it, the first time too: a tuple is a list. A step that a crash
        interrupts is called again; two steps may run at once, and a step may not call another one.

        Args:
            name: What it is recorded as. It may be used again: the record is of this name's nth use.
            function: An async function, or one that is called in a thread.
            arguments: Its arguments.
            retries: How often it is tried again when it fails; by default as `Durable` says.
            timeout: Seconds one try may take, above 0; ``None`` is no limit.
            named: Its named arguments.

        Raises:
            StepFailedError: If it fails for good.
        """
        call: Callable[..., Any] = partial(function, *arguments, **named)
        return self._attempt.step(self._attempt.named(name), call, retries=retries, timeout=timeout)

    async def emit(self, event: Any) -> None:
        """Send *event* to whoever reads the run, now or later: anything JSON can carry.

        It is stored once, however often the run is repeated; one of a step that is tried again, once a try.
        """
        await self._attempt.emit(event)

    async def sleep(self, seconds: float) -> None:
        """Wait until *seconds* after the first attempt got here; a crash does not begin the time anew."""
        await self._attempt.sleep(seconds)

    async def wait_for(self, name: str, timeout: float | None = None) -> Any:
        """Wait until somebody signals *name*, and give what they sent with it; the nth call the nth signal.

        Args:
            name: The name of the signal.
            timeout: Seconds to wait, from the first attempt on; ``None`` is without end.

        Raises:
            StepFailedError: If it has not come by then; its ``kind`` is ``"TimeoutError"``.
        """
        return await self._attempt.wait_for(name, timeout)
