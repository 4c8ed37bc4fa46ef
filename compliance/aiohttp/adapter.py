"""Our server where aiohttp's tests make one: all that this suite knows of the inside of `agentserver`.

It stands for a host with ``builder.app``: the application, or the handler of a low-level server, gets every
request. Routes of the framework's own are left out, since the tests count theirs.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from agentserver._hosting.protocol import HostContext, make_pipeline
from agentserver._http.lifetime import Lifetime
from agentserver._http.router import RouteTable
from agentserver._http.server import HostServer
from agentserver.environment import FoundryEnvironment
from agentserver.options import AgentHostOptions

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# aiohttp's words for a server's options, and ours; its one time is for idle connections and for slow heads.
_OPTIONS = (
    ("handler_cancellation", "cancel_on_disconnect"),
    ("keepalive_timeout", "keepalive_timeout"),
    ("keepalive_timeout", "header_timeout"),
    ("max_line_size", "max_request_line"),
    ("max_field_size", "max_header_size"),
    ("max_headers", "max_header_count"),
)


class SuiteServer(HostServer):
    """Made as `aiohttp.web.Server` is; ends as a host does, letting requests in flight finish.

    Args:
        handler: Answers every request: an application's, or one for a low-level server.
        arguments: What aiohttp's server takes; what ours decides itself is ignored.
    """

    def __init__(self, handler: Handler, **arguments: Any) -> None:
        self._lifetime = Lifetime()
        options = _options(handler, arguments)
        pipeline = make_pipeline(
            HostContext(FoundryEnvironment(), options, self._lifetime), RouteTable(()), ()
        )
        pipeline.fallback = handler
        super().__init__(pipeline, options)

    def pre_shutdown(self) -> None:
        """Take no further request."""
        self._lifetime.begin_shutdown()
        super().pre_shutdown()
        self._lifetime.begin_drain()

    async def shutdown(self, timeout: float | None = None) -> None:
        """Wait up to *timeout* seconds for what is in flight, then end it."""
        await self._lifetime.drain(sys.maxsize if timeout is None else timeout)
        await super().shutdown(1.0)


def _options(handler: Handler, arguments: Mapping[str, Any]) -> AgentHostOptions:
    app = getattr(handler, "__self__", None)
    limit = app._client_max_size if isinstance(app, web.Application) else 1024**2
    arguments = {"handler_cancellation": False, **arguments}
    ours = {name: arguments[theirs] for theirs, name in _OPTIONS if theirs in arguments}
    return AgentHostOptions(max_body_size=limit or sys.maxsize, **ours)
