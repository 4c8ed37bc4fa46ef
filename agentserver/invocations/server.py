"""Three ways to serve a handler: in one line, on a builder, or inside an aiohttp application of your own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from aiohttp import web

from agentserver._checks import check_kind
from agentserver._hosting.health import HealthChecks, readiness_route
from agentserver._hosting.hooks import eager_singletons, run_at_startup, tell
from agentserver._hosting.process import exit_with
from agentserver._hosting.protocol import HostContext, limiter_for, make_pipeline, mount
from agentserver._http.aiohttp_internals import limit_body
from agentserver._http.lifetime import Lifetime
from agentserver._http.pipeline import Pipeline
from agentserver._http.router import RouteTable
from agentserver._http.server_header import server_header_segment
from agentserver._telemetry.logging import configure_logging
from agentserver._telemetry.setup import Telemetry, TracingOptions
from agentserver.environment import FoundryEnvironment
from agentserver.errors import StartupError
from agentserver.invocations._handler_factory import REQUEST_TYPES
from agentserver.invocations._handler_source import HandlerSource, definition
from agentserver.invocations.builder import (
    AgentHost,
    AgentHostBuilder,
    check_protocol_options,
    durable_service,
    routes_of,
)
from agentserver.options import AgentHostOptions

if TYPE_CHECKING:
    from agentserver._services.collection import ServiceCollection
    from agentserver.invocations._durable_service import DurableService
    from agentserver.invocations.options import InvocationsServerOptions

__all__ = ["InvocationsServer", "map_invocations_server"]


class InvocationsServer:
    """The shortest way from a handler to a server."""

    @staticmethod
    def run(
        handler: HandlerSource,
        *,
        options: InvocationsServerOptions | None = None,
        configure: Callable[[AgentHostBuilder], object] | None = None,
    ) -> None:
        """Serve *handler* until the process is told to stop.

        Args:
            handler: A handler class (a new object for every request), an object (shared by all), or a
                function that makes one for each request.
            options: The options of the protocols.
            configure: Called with the builder before the host is built.

        Exits with code 0 after a clean end, 1 or 2 with one line on standard error if it cannot start.
        """
        try:
            builder = AgentHost.create_builder()
            configure_logging(builder.environment)
            builder.add_invocations(handler, options=options)
            if configure is not None:
                tell(configure, builder, "configure", "builder")
            builder.build().run()
        except StartupError as error:
            exit_with(error)


def map_invocations_server(
    app: web.Application,
    handler: HandlerSource,
    *,
    prefix: str = "",
    options: AgentHostOptions | None = None,
    environment: FoundryEnvironment | None = None,
    invocations: InvocationsServerOptions | None = None,
    services: ServiceCollection | None = None,
    readiness: bool = True,
    configure_health: Callable[[HealthChecks], object] | None = None,
) -> None:
    """Serve *handler* inside an aiohttp application of your own, or a sub-application.

    The application's own routes stay as they are, and its runner decides on ports and signals:
    ``web.run_app(app, handler_cancellation=True)`` has handlers cancelled when their client leaves.

    Args:
        app: The application, not yet started.
        handler: A handler class, an object or a function, as for `InvocationsServer.run`.
        prefix: A path before all routes, such as ``"/v1"``.
        options: Of which the limits, the log line and the server segments apply here.
        environment: Instead of the process's own.
        invocations: The options of the protocols.
        services: What the handler's constructor may ask for.
        readiness: Whether to serve ``/readiness`` too, without the prefix.
        configure_health: Adds checks to it, as on the builder.

    Raises:
        StartupError: If the handler cannot serve, a path is taken, or a variable has a value that cannot be
            used.
    """
    check_kind(options, AgentHostOptions, "options")
    check_protocol_options(invocations, "invocations")
    check_kind(environment, FoundryEnvironment, "environment")
    provider = None if services is None else services.build(REQUEST_TYPES)
    options = options or AgentHostOptions()
    host = HostContext(
        FoundryEnvironment.read() if environment is None else environment,
        options,
        Lifetime(),
        provider,
        limiter_for(options),
    )
    offered = definition(handler)
    durable = durable_service(offered)
    routes = RouteTable(routes_of(handler, offered, host, invocations, durable), prefix).routes
    if readiness:
        health = HealthChecks()
        if durable is not None:
            health.add_check("durable runs", durable.is_ready)
        if configure_health is not None:
            tell(configure_health, health, "configure_health", "health")
        routes.append(readiness_route(health, host))
    pipeline = make_pipeline(host, RouteTable(routes), [server_header_segment("agentserver-invocations")])
    if durable is not None:
        durable.watch(pipeline)
    _serve(app, pipeline)
    _wind_down(app, host, durable)
    _observe(app, host, pipeline, durable)


def _wind_down(app: web.Application, host: HostContext, durable: DurableService | None) -> None:
    async def shut_down(_app: web.Application) -> None:
        host.lifetime.begin_shutdown()
        host.lifetime.begin_drain()

    async def clean_up(_app: web.Application) -> None:
        await host.lifetime.drain(
            host.shutdown_timeout
        )  # the runner has ended the requests, not what they spawned
        if durable is not None:
            await durable.stop()
        if host.provider is not None:
            await host.provider.aclose()

    app.on_shutdown.append(shut_down)
    app.on_cleanup.append(clean_up)


def _observe(
    app: web.Application, host: HostContext, pipeline: Pipeline, durable: DurableService | None
) -> None:
    telemetry = Telemetry(host.environment, TracingOptions(), pipeline)
    make_singletons = None if host.provider is None else eager_singletons(host.provider)

    async def start(_app: web.Application) -> None:
        telemetry.start()
        if make_singletons is not None:
            await run_at_startup([make_singletons])
        if durable is not None:
            await run_at_startup([durable.start])

    async def flush(_app: web.Application) -> None:
        await telemetry.stop()

    app.on_startup.append(start)
    app.on_cleanup.append(flush)


def _serve(app: web.Application, pipeline: Pipeline) -> None:
    async def serve(request: web.Request) -> web.StreamResponse:
        limit_body(request, pipeline.max_body_size)  # the agent's limit, not the application's
        return await pipeline.run(request)

    async def prepare(request: web.Request, response: web.StreamResponse) -> None:
        # Of two agents in one application each stamps its own responses.
        if request.match_info.handler is serve:
            await pipeline.prepare(request, response)

    pipeline.fallback = pipeline.dispatch  # aiohttp has answered an expectation before we are called
    mount(app, pipeline.routes, serve)
    app.on_response_prepare.append(prepare)
