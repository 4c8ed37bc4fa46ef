"""``GET /readiness``: whether the platform may send work here (contract, section 1)."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from aiohttp import web

from agentserver._hosting.hooks import with_services
from agentserver._hosting.protocol import HostContext
from agentserver._http.error_response import to_json
from agentserver._http.exchange import Exchange
from agentserver._http.outcome import refused
from agentserver._http.router import Route
from agentserver.errors import ConfigurationError, Failure
from agentserver.wire import READINESS_ROUTE, ErrorCode, ErrorSource

if TYPE_CHECKING:
    from agentserver._services.collection import ServiceProvider

HealthCheck: TypeAlias = Callable[..., Awaitable[object]]

logger = logging.getLogger("agentserver")
_HEALTHY: Final = b'{"status":"healthy"}'


class _Check(NamedTuple):
    name: str
    check: HealthCheck
    timeout: float


class HealthChecks:
    """The checks behind ``/readiness``; ``builder.configure_health`` hands it out."""

    def __init__(self) -> None:
        self._checks: list[_Check] = []
        self._calls: dict[str, Callable[[], Awaitable[Any]]] = {}
        self._overdue: dict[str, asyncio.Task[bool]] = {}  # those that ignore their cancellation

    def add_check(self, name: str, check: HealthCheck, *, timeout: float = 5.0) -> HealthChecks:
        """Add a check.

        Args:
            name: What is checked; a failing check is named to the caller.
            check: An async function, whose parameters are given services by type as a handler's constructor
                is. It fails by returning ``False``, by raising, or by taking too long.
            timeout: Seconds it may take, more than 0.

        Raises:
            ConfigurationError: If the check is not async, the name is taken or the time-out is not positive.
        """
        if not inspect.iscoroutinefunction(check) and not inspect.iscoroutinefunction(
            getattr(check, "__call__", None)  # noqa: B004 - the question is whether calling it is async
        ):
            raise ConfigurationError(f"health check {name!r} must be an async function: write 'async def'")
        if any(known.name == name for known in self._checks):
            raise ConfigurationError(f"there are two health checks named {name!r}: give one another name")
        if not timeout > 0:
            raise ConfigurationError(f"the time-out of health check {name!r} must be more than 0 seconds")
        self._checks.append(_Check(name, check, timeout))
        return self

    def use_services(self, provider: ServiceProvider | None) -> None:
        """Have *provider* give the checks what they ask for; ``None`` if no service is registered.

        Raises:
            ServiceError: If a check asks for what nobody registered.
        """
        self._calls = {
            check.name: with_services(check.check, provider, f"health check {check.name!r}")
            for check in self._checks
        }

    async def failing(self) -> list[str]:
        """Run all checks side by side and name those that fail, in the order they were added."""
        if not self._checks:
            return []
        verdicts = await asyncio.gather(*(self._passes(check) for check in self._checks))
        return [check.name for check, passed in zip(self._checks, verdicts, strict=True) if not passed]

    async def _passes(self, check: _Check) -> bool:
        if check.name in self._overdue:
            logger.warning("health check %s has not ended since it was cancelled", check.name)
            return False
        call = self._calls.get(check.name, check.check)
        # A task of its own, for whose end nobody has to wait: a check may ignore its cancellation.
        run = asyncio.create_task(_verdict(check.name, call), name=f"health check {check.name}")
        try:
            await asyncio.wait((run,), timeout=check.timeout)
        finally:
            run.cancel()
        if not run.done():
            logger.warning("health check %s took longer than %g s", check.name, check.timeout)
            self._overdue[check.name] = run
            run.add_done_callback(lambda _run: self._overdue.pop(check.name, None))
            return False
        if run.cancelled():
            logger.warning("health check %s failed: it cancelled itself", check.name)
            return False
        return run.result()


async def _verdict(name: str, call: Callable[[], Awaitable[Any]]) -> bool:
    try:
        return await call() is not False
    # The boundary of user code: a check that raises is a check that fails, and sys.exit() in it ends nothing.
    except (Exception, SystemExit):
        logger.warning("health check %s failed", name, exc_info=True)
        return False


def readiness_route(checks: HealthChecks, host: HostContext) -> Route:
    """The route that answers for *checks*; 503 while *host* is ending or, if it shall say so, full.

    Raises:
        ServiceError: If a check asks for what nobody registered.
    """
    checks.use_services(host.provider)
    lifetime = host.lifetime
    limiter = host.limiter if host.options.readiness_shows_saturation else None

    async def readiness(_request: web.Request, _exchange: Exchange) -> web.StreamResponse:
        if lifetime.shutting_down.is_set():
            return _not_ready("shutting_down", "The server is shutting down", [])
        if limiter is not None and limiter.is_saturated:
            return _not_ready("saturated", "The server has no room for a further invocation", [])
        failing = await checks.failing()
        if failing:
            return _not_ready("unhealthy", f"Health check failed: {', '.join(failing)}", failing)
        return web.Response(body=_HEALTHY, content_type="application/json")

    return Route(READINESS_ROUTE, "readiness", {"GET": readiness})


def _not_ready(status: str, message: str, failing: list[str]) -> web.StreamResponse:
    failure = Failure(503, ErrorCode.UNAVAILABLE.value, message, ErrorSource.UPSTREAM)
    error = {"code": ErrorCode.UNAVAILABLE.value, "message": message}
    body = to_json({"status": status, "failed": failing, "error": error})
    return refused(failure, web.Response(status=503, text=body, content_type="application/json"))
