"""Making services by their plans, and ending what was made."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import logging
from collections.abc import Callable, Mapping
from types import CoroutineType, TracebackType
from typing import Any, ClassVar, Generic, TypeVar, cast

from agentserver._services.ends import ways
from agentserver._services.planner import UNMADE, Plan, ServiceLifetime

__all__ = ["HandlerScope", "InjectedCall", "Singletons"]

HandlerT = TypeVar("HandlerT")

logger = logging.getLogger("agentserver")


class Scope:
    """Makes services by their plans, remembers the scoped ones, and ends what it made."""

    __slots__ = ("_made", "_open", "_singletons")

    raises: ClassVar[bool] = False
    """Whether a service that fails to end is an error of whoever ends the scope."""

    def __init__(self, singletons: Singletons, brought: Mapping[Plan, Any] | None = None) -> None:
        self._singletons = singletons
        self._made: dict[Plan, Any] = dict(brought or {})
        self._open: list[tuple[str, Callable[..., Any], Any]] = []

    async def get(self, plan: Plan) -> Any:
        """Give the service of *plan*; make it if it is not there yet."""
        if plan.value is not UNMADE:
            return plan.value
        if plan.lifetime is ServiceLifetime.SINGLETON:
            return await self._singletons.get(plan)
        if plan.lifetime is ServiceLifetime.TRANSIENT:
            return await self.make(plan)
        if plan not in self._made:
            self._made[plan] = await self.make(plan)
        return self._made[plan]

    async def make(self, plan: Plan) -> Any:
        """Make the service of *plan* anew, to be ended with this scope."""
        positional, keywords = await self.arguments(plan)
        made: Any = plan.make(*positional, **keywords)
        if isinstance(made, CoroutineType):
            made = cast("Any", await made)
        enter, leave = ways(cast("Any", type(made)))
        if leave is None or any(made is argument for argument in (*positional, *keywords.values())):
            return made  # what is only handed on is ended by whoever made it
        entered = enter(made) if enter else None
        if inspect.isawaitable(entered):
            entered = await entered
        self._open.append((plan.name, leave, made))
        return made if entered is None else entered

    async def arguments(self, plan: Plan) -> tuple[list[Any], dict[str, Any]]:
        """Give what *plan* asks for, by position and by name."""
        positional = [await self.get(argument) for argument in plan.positional]
        keywords: dict[str, Any] = {}
        for name, argument in plan.keywords.items():
            ready = argument.value is not UNMADE  # asked here too: it saves a coroutine for most arguments
            keywords[name] = argument.value if ready else await self.get(argument)
        return positional, keywords

    async def aclose(self, error: BaseException | None = None) -> None:
        """End everything, the last one first, whatever happens on the way.

        Args:
            error: What went wrong before, if something did.

        Raises:
            Exception: What the first service raised that failed to end, if nothing went wrong before and
                the scope `raises`; otherwise that is logged.
        """
        cancelled: asyncio.CancelledError | None = None
        first: Exception | None = None
        while self._open:
            name, leave, made = self._open.pop()
            try:
                left = leave(made, type(error) if error else None, error, error and error.__traceback__)
                if inspect.isawaitable(left):
                    await left
            except asyncio.CancelledError as cancellation:
                cancelled = cancellation
            except Exception as failure:  # one service must not keep the others open
                if failure is error:
                    continue
                if error is None and self.raises:
                    first = error = failure  # the others are told, and so is the caller
                else:
                    logger.exception("Closing %s failed", name, exc_info=failure)
        if cancelled and cancelled is not error:
            raise cancelled
        if first is not None:
            raise first


class HandlerScope(Scope, Generic[HandlerT]):
    """What one request holds: its handler, and the services made for it."""

    __slots__ = ("_plan",)

    raises = True  # what could not be committed must not be answered as done

    def __init__(self, plan: Plan, singletons: Singletons, brought: Mapping[Plan, Any] | None = None) -> None:
        super().__init__(singletons, brought)
        self._plan = plan

    async def __aenter__(self) -> HandlerT:
        try:
            return cast("HandlerT", await self.get(self._plan))
        except BaseException as error:
            await self.aclose(error)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open:
            await self.aclose(error)


class InjectedCall:
    """A function of the user's, called with the services that its parameters ask for.

    Each call has a scope of its own, which ends when the call does.

    Args:
        plan: Of the function: it makes what calling it gives, which is no service.
        singletons: Makes what lives longer than the call.
    """

    def __init__(self, plan: Plan, singletons: Singletons) -> None:
        self._plan = plan
        self._singletons = singletons

    def __repr__(self) -> str:
        return repr(self._plan.make)

    async def __call__(self) -> Any:
        """Call the function, wait for what can be awaited, and end what was made for it."""
        scope = Scope(self._singletons)
        try:
            positional, keywords = await scope.arguments(self._plan)
            result: Any = self._plan.make(*positional, **keywords)
            if inspect.isawaitable(result):
                result = await result
        except BaseException as error:
            await scope.aclose(error)
            raise
        await scope.aclose()
        return result


class Singletons:
    """Makes each singleton once, and ends them at shutdown.

    Each lives in a task of its own, so that the request which happens to be first neither lends it its
    context nor takes it away when it is cancelled, and so that it is entered and left in the same task, as
    structured concurrency demands.
    """

    def __init__(self) -> None:
        self._making: dict[Plan, _Life] = {}
        self._alive: list[_Life] = []

    async def get(self, plan: Plan) -> Any:
        """Make the singleton of *plan*, or wait for it while somebody else does."""
        life = self._making.get(plan)
        if life is None:
            life = self._making[plan] = _Life(Scope(self), plan)
            life.made.add_done_callback(functools.partial(self._settle, life))
        return await asyncio.shield(life.made)

    def _settle(self, life: _Life, made: asyncio.Future[Any]) -> None:
        del self._making[life.plan]  # after a failure the next request tries again
        if not made.cancelled() and made.exception() is None:
            life.plan.value = made.result()
            self._alive.append(life)

    async def aclose(self) -> None:
        """End all of them, the last one made first."""
        for life in list(self._making.values()):
            await life.end()
        while self._alive:
            await self._alive.pop().end()


class _Life:
    """One singleton's life: made, kept, ended, all in one task."""

    def __init__(self, scope: Scope, plan: Plan) -> None:
        loop = asyncio.get_running_loop()
        self.plan = plan
        self.made: asyncio.Future[Any] = loop.create_future()
        self._over = asyncio.Event()
        self._task = contextvars.Context().run(loop.create_task, self._live(scope))

    async def _live(self, scope: Scope) -> None:
        error: BaseException | None = None
        try:
            self.made.set_result(await scope.make(self.plan))
            await self._over.wait()
        except asyncio.CancelledError as cancelled:
            error = cancelled
            self.made.cancel()
        # It belongs to those who wait for the service, a sys.exit() too: here it would end the process.
        except BaseException as failure:  # noqa: BLE001
            error = failure
            self.made.set_exception(failure)
        await scope.aclose(error)

    async def end(self) -> None:
        """End it, and wait until it is closed."""
        self._over.set()
        if not self.made.done():
            self._task.cancel()
        await asyncio.wait([self._task])
