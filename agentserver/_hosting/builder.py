"""Collects what a host is made of."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

from aiohttp import web
from typing_extensions import Self, Unpack

from agentserver._hosting.health import HealthChecks, readiness_route
from agentserver._hosting.hooks import Hook, as_function, eager_singletons, name_of, tell, with_services
from agentserver._hosting.host import Host, HostParts
from agentserver._hosting.protocol import HostContext, ProtocolRegistration, limiter_for, make_pipeline, mount
from agentserver._http.aiohttp_internals import handler_of
from agentserver._http.lifetime import Lifetime
from agentserver._http.router import RouteTable
from agentserver._telemetry.setup import Telemetry, TracingOptions
from agentserver.environment import FoundryEnvironment
from agentserver.errors import ConfigurationError
from agentserver.options import AgentHostOptions

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from agentserver._hosting.configure_arguments import ConfigureArguments
    from agentserver._services.collection import ServiceCollection


@dataclass(eq=False, repr=False)
class HostBuilder:
    """Collects what a host is made of; ``build()`` checks it and makes the host.

    Args:
        environment: What the platform says; read from the process's environment by default.
    """

    adjust: ClassVar[Callable[[HostBuilder], object] | None] = None
    """Called with each builder when it builds: what ``agentserver dev`` changes of the code's host."""

    environment: FoundryEnvironment = field(default_factory=FoundryEnvironment.read)
    options: AgentHostOptions = field(default_factory=AgentHostOptions)
    health: HealthChecks = field(default_factory=HealthChecks)

    def __post_init__(self) -> None:
        self._protocols: list[ProtocolRegistration] = []
        self._on_startup: list[Hook] = []
        self._on_shutdown: list[Hook] = []
        self._app: web.Application | None = None
        self._services: ServiceCollection | None = None
        self._tracing = TracingOptions()
        self.listener: socket.socket | None = None  # one that listens already, instead of host and port
        self._is_built = False

    @property
    def services(self) -> ServiceCollection:
        """What handlers are given as constructor arguments, by type."""
        if self._services is None:
            from agentserver._services.collection import ServiceCollection  # most agents have none

            self._services = ServiceCollection()
        return self._services

    @property
    def app(self) -> web.Application:
        """The aiohttp application for routes, middlewares and signals of your own.

        Asking for it sends every request through it; a host without one has a shorter path.
        """
        if self._app is None:
            self._app = web.Application(client_max_size=self.options.max_body_size)
        return self._app

    def register_protocol(self, protocol: ProtocolRegistration) -> Self:
        """Serve *protocol*.

        Raises:
            ConfigurationError: If a protocol of that name is registered already.
        """
        if any(known.name == protocol.name for known in self._protocols):
            raise ConfigurationError(f"the protocol {protocol.name!r} is registered twice: register it once")
        self._protocols.append(protocol)
        return self

    def configure(self, **options: Unpack[ConfigureArguments]) -> Self:
        """Replace single options, by the names of `AgentHostOptions`.

        Raises:
            ConfigurationError: If a name is unknown or a value out of its range.
        """
        known = AgentHostOptions.__dataclass_fields__
        for name in options:
            if name not in known:
                raise ConfigurationError(f"there is no option {name!r}; there are: {', '.join(known)}")
        self.options = replace(self.options, **options)
        return self

    def configure_health(self, configure: Callable[[HealthChecks], object]) -> Self:
        """Add readiness checks: ``builder.configure_health(lambda health: health.add_check("db", ping))``.

        Args:
            configure: Called with the checks, at once.

        Returns:
            The builder itself.

        Raises:
            ConfigurationError: If it is no function of one argument, or a check cannot be added.
        """
        tell(configure, self.health, "configure_health", "health")
        return self

    def configure_tracing(
        self,
        configure: Callable[[TracerProvider], object] | None = None,
        *,
        framework_spans: bool | None = None,
    ) -> Self:
        """Add span processors of your own, or have the framework make no spans.

        .. code-block:: python

            builder.configure_tracing(lambda provider: provider.add_span_processor(MyProcessor()))

        Args:
            configure: Called at start with the tracer provider: the one you have set, else the framework's.
            framework_spans: Whether the framework makes spans of its own, as it does by default. Without
                them the caller's trace and baggage still reach the handler and its spans.

        Returns:
            The builder itself.

        Raises:
            ConfigurationError: If *configure* is no function, or *framework_spans* neither true nor false.
        """
        if configure is not None:
            as_function(configure, "configure_tracing", "provider")
            self._tracing.configure.append(configure)
        if framework_spans is not None:
            if framework_spans not in (True, False):
                raise ConfigurationError(
                    f"framework_spans is {framework_spans!r}, but it must be True or False"
                )
            self._tracing.framework_spans = framework_spans
        return self

    def configure_shutdown(
        self, *, timeout: float | None = None, delay: float | None = None, hook: Hook | None = None
    ) -> Self:
        """Say how the host ends.

        Args:
            timeout: Seconds that requests in flight may take to finish.
            delay: Seconds between readiness turning 503 and the listener closing.
            hook: A function, async or not, to call after the last request; hooks run in reverse order. Its
                parameters are given services by type, as a handler's constructor is.
        """
        if timeout is not None:
            self.configure(shutdown_timeout=timeout)
        if delay is not None:
            self.configure(shutdown_delay=delay)
        if hook is not None:
            self._on_shutdown.append(hook)
        return self

    def on_startup(self, hook: Hook) -> Self:
        """Have *hook*, a function, async or not, called before the first request is taken.

        Its parameters are given services by type, as a handler's constructor is. If it raises, the process
        ends with one line that says so.
        """
        self._on_startup.append(hook)
        return self

    def build(self) -> Host:
        """Check everything and make the host.

        Raises:
            StartupError: If the host could not serve as it is, or has been made already.
        """
        return Host(self._parts())

    def _parts(self) -> HostParts:
        if not self._protocols:
            raise ConfigurationError("the host serves no protocol: call add_invocations(MyHandler) first")
        if self._is_built:
            raise ConfigurationError("build() was called already: a builder makes one host, create another")
        adjust = type(self).adjust
        if adjust is not None:
            adjust(self)
        lifetime = Lifetime()
        with_request = [kind for protocol in self._protocols for kind in protocol.with_request]
        provider = None if self._services is None else self._services.build(with_request)
        limiter = limiter_for(self.options)
        context = HostContext(self.environment, self.options, lifetime, provider, limiter)
        routes = [readiness_route(self.health, context)]
        for protocol in self._protocols:
            routes.extend(protocol.routes(context))
        pipeline = make_pipeline(context, RouteTable(routes), [p.segment for p in self._protocols])
        for protocol in self._protocols:
            if protocol.on_pipeline is not None:
                protocol.on_pipeline(pipeline)
        if self._app is not None:
            mount(self._app, pipeline.routes, pipeline.dispatch)
            pipeline.fallback = handler_of(self._app)
        telemetry = Telemetry(self.environment, self._tracing, pipeline)
        on_startup = [
            with_services(hook, provider, f"the start-up hook {name_of(hook)}") for hook in self._on_startup
        ]
        on_startup += [protocol.on_start for protocol in self._protocols if protocol.on_start is not None]
        on_shutdown = [protocol.on_stop for protocol in self._protocols if protocol.on_stop is not None]
        on_shutdown += [
            with_services(hook, provider, f"the shutdown hook {name_of(hook)}")
            for hook in reversed(self._on_shutdown)
        ]
        if provider is not None:
            on_startup.insert(0, eager_singletons(provider))
            on_shutdown.append(provider.aclose)
        self._is_built = True
        return HostParts(
            context=context,
            pipeline=pipeline,
            telemetry=telemetry,
            protocols=tuple(name for protocol in self._protocols for name in (protocol.name, *protocol.also)),
            app=self._app,
            listener=self.listener,
            on_startup=tuple(on_startup),
            on_shutdown=tuple(on_shutdown),
        )
