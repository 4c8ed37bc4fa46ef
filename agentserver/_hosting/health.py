"""``GET /readiness``: whether the platform may send work here (contract, section 1)."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from aiohttp import web

from agentserver._hosting.protocol import HostContext
from agentserver._http.error_response import to_json
from agentserver._http.exchange import Exchange
from agentserver._http.outcome import refused
from agentserver._http.router import Route
from agentserver._record import record
from agentserver.errors import ConfigurationError, Failure
from agentserver.wire import READINESS_ROUTE, ErrorCode, ErrorSource

HealthCheck: TypeAlias = Callable[[], Awaitable[object]]

logger = logging.getLogger("agentserver")
_HEALTHY: Final = b'{"status":"healthy"}'


@record(frozen=True, eq=False, repr=False)
class _Check:
    name: str
    check: HealthCheck
    timeout: float


class HealthChecks:
    """The checks behind ``/readiness``; ``builder.configure_health`` hands it out."""

    def __init__(self) -> None:
        self._checks: list[_Check] = []

    def add_check(self, name: str, check: HealthCheck, *, timeout: float = 5.0) -> HealthChecks:
        """Add a check.

        Args:
            name: What is checked; a failing check is named to the caller.
            check: An async function. It fails by returning ``False``, by raising, or by taking too long.
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

    async def failing(self) -> list[str]:
        """Run all checks side by side and name those that fail, in the order they were added."""
        if not self._checks:
            return []
        verdicts = await asyncio.gather(*(self._passes(check) for check in self._checks))
        return [check.name for check, passed in zip(self._checks, verdicts, strict=True) if not passed]

    @staticmethod
    async def _passes(check: _Check) -> bool:
        try:
            return await asyncio.wait_for(check.check(), check.timeout) is not False
        except asyncio.TimeoutError:
            logger.warning("health check %s took longer than %g s", check.name, check.timeout)
        # The boundary of user code: a check that raises is a check that fails.
        except Exception:
            logger.warning("health check %s failed", check.name, exc_info=True)
        return False


def readiness_route(checks: HealthChecks, host: HostContext) -> Route:
    """The route that answers for *checks*; 503 while *host* is ending or, if it shall say so, full."""
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
    body = to_json(not_ready_body(status, message, failing))
    failure = Failure(503, ErrorCode.UNAVAILABLE.value, message, ErrorSource.UPSTREAM)
    return refused(failure, web.Response(status=503, text=body, content_type="application/json"))


def not_ready_body(status: str, message: str, failing: list[str]) -> dict[str, object]:
    """What ``/readiness`` tells along with a 503: a word, the failing checks, and the envelope."""
    error = {"code": ErrorCode.UNAVAILABLE.value, "message": message}
    return {"status": status, "failed": failing, "error": error}
