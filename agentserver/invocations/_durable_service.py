"""What a host has for a durable handler: its runs, from start-up to shutdown, and the way to its ``run``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from multidict import CIMultiDict, CIMultiDictProxy

from agentserver._hosting.protocol import HostContext
from agentserver._http.ids import new_trace_id
from agentserver._telemetry.correlation import CurrentRequest, current_request
from agentserver._telemetry.observer import Observed
from agentserver._telemetry.trace_context import trace_parent
from agentserver.durable._runs import Runs
from agentserver.durable._store import open_engine
from agentserver.durable.options import Durable
from agentserver.durable.run import Run
from agentserver.environment import FoundryEnvironment
from agentserver.invocations._class_arguments import check_run
from agentserver.invocations._durable_types import types_of
from agentserver.invocations._handler_definition import HandlerDefinition
from agentserver.invocations._handler_factory import HandlerFactory
from agentserver.invocations.context import InvocationContext
from agentserver.wire import (
    BAGGAGE_HEADER,
    CALL_ID_HEADER,
    CHAT_ISOLATION_KEY_HEADER,
    CLIENT_HEADER_PREFIX,
    TRACEPARENT_HEADER,
    TRACESTATE_HEADER,
    USER_ID_HEADER,
    USER_ISOLATION_KEY_HEADER,
)

if TYPE_CHECKING:
    from agentserver.durable._lease import LeaseKeeper

_KEPT_HEADERS: Final = frozenset(
    {
        BAGGAGE_HEADER,
        CALL_ID_HEADER,
        CHAT_ISOLATION_KEY_HEADER,
        TRACEPARENT_HEADER,
        TRACESTATE_HEADER,
        USER_ID_HEADER,
        USER_ISOLATION_KEY_HEADER,
    }
)
_LAST_MOMENT: Final = 0.5


class DurableService:
    """The runs of one handler on one host.

    Args:
        offered: The handler's definition; it is durable.
        durable: How its runs behave.

    Raises:
        HandlerError: If its ``run`` cannot serve.
    """

    def __init__(self, offered: HandlerDefinition, durable: Durable) -> None:
        check_run(offered.type)
        self.types = types_of(offered.type)
        self._durable = durable
        self._drained: float | None = None
        self._name = durable.name or offered.type.__name__
        self._runs: Runs | None = None
        self._lease_keeper: LeaseKeeper | None = None

    def bind(self, host: HostContext, factory: HandlerFactory) -> None:
        """Say on which host it is, and who makes the handlers.

        Raises:
            ConfigurationError: If there is no such store as the environment asks for.
        """
        self._host = host
        self._factory = factory
        self._runs = Runs(self._durable, self._name, open_engine(host.environment), self._call)
        if self._durable.keep_awake:
            self._lease_keeper = lease_keeper(host.environment, self._runs)

    @property
    def runs(self) -> Runs:
        """The runs."""
        assert self._runs is not None, "bound before it is used"
        return self._runs

    def watch(self, server: Observed) -> None:
        """Have the runs observed by what observes *server*."""
        self.runs.telemetry.server = server

    async def start(self) -> None:
        """Open the store and go on with what was left; called once, before the first request."""
        await self.runs.start()
        if self._lease_keeper is not None:
            self._lease_keeper.start()
        self._host.lifetime.add_listener(self._drain)

    def _drain(self) -> None:
        self._drained = asyncio.get_running_loop().time()
        self.runs.park()
        self.runs.end_streams()

    async def stop(self) -> None:
        """Leave the runs to the next process; called once, after the last request."""
        now = asyncio.get_running_loop().time()
        left = self._host.shutdown_timeout - (now - (self._drained or now))
        await self.runs.stop(max(left, _LAST_MOMENT))
        if self._lease_keeper is not None:
            await self._lease_keeper.stop()

    async def is_ready(self) -> bool:
        """Whether runs can be stored: a readiness check."""
        return self.runs.is_open and await self.runs.can_write()

    async def _call(self, run: Run, value: Any) -> Any:
        context = self._enter(run)
        if not self._factory.needs_scope:
            return await self._run(self._factory.create(), value, run)
        # There is no request any more: what asks for one cannot be made.
        async with self._factory.scope({InvocationContext: context}) as scoped:
            return await self._run(scoped, value, run)

    async def _run(self, handler: Any, value: Any, run: Run) -> Any:
        return self.types.write(await handler.run(self.types.read(value), run))

    def _enter(self, run: Run) -> InvocationContext:
        """Have logs and calls of the attempt carry what those of its request did."""
        headers = CIMultiDictProxy(CIMultiDict(run.headers))
        parent = trace_parent(headers) if TRACEPARENT_HEADER in headers else None
        current = CurrentRequest(new_trace_id() if parent is None else parent.trace_id, headers, parent)
        current.correlation = {"invocation_id": run.invocation_id, "session_id": run.session_id}
        current_request.set(current)
        return InvocationContext(
            invocation_id=run.invocation_id,
            session_id=run.session_id,
            headers=headers,
            lifetime=self._host.lifetime,
        )


def lease_keeper(environment: FoundryEnvironment, runs: Runs) -> LeaseKeeper | None:
    """What keeps the container awake while *runs* work; ``None`` where nobody would stop it.

    Raises:
        ConfigurationError: If there is no way to a token.
    """
    from agentserver.durable._lease import RENEW_SECONDS, LeaseKeeper
    from agentserver.durable._task_lease import task_lease

    lease = task_lease(environment)
    return None if lease is None else LeaseKeeper(lease, lambda: runs.is_busy, RENEW_SECONDS)


def kept_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Those of a request's headers that every attempt gets, in lower case."""
    kept: dict[str, str] = {}
    for name, value in headers.items():
        lowered = name.lower()
        if lowered in _KEPT_HEADERS or lowered.startswith(CLIENT_HEADER_PREFIX):
            kept.setdefault(lowered, value)
    return kept
