"""How a protocol plugs into a host, and a host into an application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from aiohttp import web

from agentserver._hosting.hooks import Hook
from agentserver._http.lifetime import Lifetime
from agentserver._http.pipeline import Pipeline
from agentserver._http.router import Route, RouteTable
from agentserver._http.server_header import server_header_segment
from agentserver.environment import FoundryEnvironment
from agentserver.errors import ConfigurationError
from agentserver.options import AgentHostOptions

if TYPE_CHECKING:
    from agentserver._http.concurrency_limit import ConcurrencyLimiter
    from agentserver._services.collection import ServiceProvider


class HostContext(NamedTuple):
    """What a protocol learns of the host it is served by.

    Args:
        environment: What the platform says.
        options: How the host behaves.
        lifetime: The life of the process.
        provider: Makes what handlers ask for; ``None`` if no service was registered.
        limiter: Gives each invocation its place; ``None`` if their number is not limited.
    """

    environment: FoundryEnvironment
    options: AgentHostOptions
    lifetime: Lifetime
    provider: ServiceProvider | None = None
    limiter: ConcurrencyLimiter | None = None

    @property
    def shutdown_timeout(self) -> float:
        """Seconds that requests in flight may take to finish: the option's, else the environment's."""
        timeout = self.options.shutdown_timeout
        return self.environment.shutdown_timeout if timeout is None else timeout


class ProtocolRegistration(NamedTuple):
    """A protocol that a host serves; registered with ``builder.register_protocol``.

    Args:
        name: Its name, unique on the host, as ``agent.yaml`` declares it.
        segment: Its segment of ``x-platform-server``.
        routes: Makes its routes; raises `StartupError` if it cannot serve.
        on_stop: Frees what it holds, after the last request and before the shutdown hooks.
        also: The names of further protocols that its routes serve.
        with_request: The types of which each of its requests brings an object, for services to ask for.
        on_start: Gets what it holds, after the start-up hooks and before the first request.
        on_pipeline: Is told of what serves its requests, once that is made.
    """

    name: str
    segment: str
    routes: Callable[[HostContext], Iterable[Route]]
    on_stop: Hook | None = None
    also: tuple[str, ...] = ()
    with_request: tuple[type, ...] = ()
    on_start: Hook | None = None
    on_pipeline: Callable[[Pipeline], None] | None = None


def limiter_for(options: AgentHostOptions) -> ConcurrencyLimiter | None:
    """The limiter that *options* ask for; ``None`` if the number of invocations is not limited."""
    if options.max_invocations is None and options.max_session_invocations is None:
        return None
    from agentserver._http.concurrency_limit import ConcurrencyLimiter

    return ConcurrencyLimiter(options)


def make_pipeline(context: HostContext, routes: RouteTable, protocol_segments: Iterable[str]) -> Pipeline:
    """The way of a request through a host of *context*, or through somebody's application."""
    options, environment = context.options, context.environment
    segments = [server_header_segment("agentserver-core"), *protocol_segments, *options.server_segments]
    return Pipeline(
        routes=routes,
        lifetime=context.lifetime,
        server="; ".join(segments),
        max_body_size=options.max_body_size,
        request_logging=options.request_logging,
        sse_keepalive=environment.sse_keepalive_interval,
        keep_alive=options.keepalive_timeout > 0,
    )


def mount(
    app: web.Application, table: RouteTable, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> None:
    """Add every path of *table* to *app*, for all methods: which are allowed is for the table to say.

    In a sub-application the table moves under its prefix, once that is known.

    Raises:
        ConfigurationError: If the application serves one of the paths already.
    """
    taken = {
        (route.resource.canonical, route.method)
        for route in app.router.routes()
        if route.resource is not None
    }
    for route in table.routes:
        if any((route.path, method) in taken for method in ("*", *route.endpoints)):
            raise ConfigurationError(
                f"{route.path} is served already: remove that route,"
                " or call map_invocations_server with another prefix or readiness=False"
            )
        for path in (route.path, route.path + "/"):
            app.router.add_route("*", path, handler)
    first = table.routes[0].path
    resource = next(resource for resource in app.router.resources() if resource.canonical == first)

    async def move(_app: web.Application) -> None:
        table.move(resource.canonical[: -len(first)])

    app.on_startup.append(move)
