"""The host and its builder as users know them: with the ``invocations`` protocol at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import Self

from agentserver._checks import check_kind
from agentserver._hosting.builder import HostBuilder
from agentserver._hosting.host import Host
from agentserver._hosting.process import install_one_line_errors
from agentserver._hosting.protocol import HostContext, ProtocolRegistration
from agentserver._http.router import Route
from agentserver._http.server_header import server_header_segment
from agentserver.environment import FoundryEnvironment
from agentserver.invocations._endpoints import Endpoints
from agentserver.invocations._handler_definition import HandlerDefinition
from agentserver.invocations._handler_factory import REQUEST_TYPES, HandlerFactory, PlainHandlerFactory
from agentserver.invocations._handler_source import HandlerSource, definition, handler_factory
from agentserver.wire import INVOCATIONS_PROTOCOL, INVOCATIONS_WS_PROTOCOL

if TYPE_CHECKING:
    from agentserver.invocations._durable_service import DurableService
    from agentserver.invocations.options import InvocationsServerOptions


class AgentHostBuilder(HostBuilder):
    """Collects what a host is made of; ``build()`` checks it and makes the host.

    Made by ``AgentHost.create_builder()``.
    """

    def add_invocations(
        self, handler: HandlerSource, *, options: InvocationsServerOptions | None = None
    ) -> Self:
        """Serve *handler*.

        Args:
            handler: A handler class (a new object for every request), an object (shared by all), or a
                function that makes one for each request.
            options: The options of the protocols.

        Returns:
            The builder itself.

        Raises:
            StartupError: If the handler cannot serve.
        """
        check_protocol_options(options, "options")
        offered = definition(handler)
        durable = durable_service(offered)
        if durable is not None:
            self.health.add_check("durable runs", durable.is_ready)

        def routes(host: HostContext) -> list[Route]:
            return routes_of(handler, offered, host, options, durable)

        also = (INVOCATIONS_WS_PROTOCOL,) if offered.interface.websockets else ()
        return self.register_protocol(
            ProtocolRegistration(
                INVOCATIONS_PROTOCOL,
                server_header_segment("agentserver-invocations"),
                routes,
                also=also,
                with_request=REQUEST_TYPES,
                on_start=None if durable is None else durable.start,
                on_stop=None if durable is None else durable.stop,
                on_pipeline=None if durable is None else durable.watch,
            )
        )

    def build(self) -> AgentHost:
        """Check everything and make the host.

        Raises:
            StartupError: If the host could not serve as it is.
        """
        return AgentHost(self._parts())


class AgentHost(Host):
    """A host, ready to run; made by a builder, and ``AgentHost.create_builder()`` is where that begins."""

    @staticmethod
    def create_builder(environment: FoundryEnvironment | None = None) -> AgentHostBuilder:
        """Start building a host.

        Args:
            environment: Instead of the process's own.

        Returns:
            The builder; nothing listens before its host runs.

        Raises:
            ConfigurationError: If a variable of it has a value that cannot be used. Uncaught, it
                ends the process with one line instead of a traceback, as every `StartupError` does.
        """
        install_one_line_errors()
        check_kind(environment, FoundryEnvironment, "environment")
        return AgentHostBuilder(FoundryEnvironment.read() if environment is None else environment)


def durable_service(offered: HandlerDefinition) -> DurableService | None:
    """The runs of a durable handler; ``None`` for any other, which does not pay for them.

    Raises:
        HandlerError: If its ``run`` cannot serve.
    """
    durable = offered.durable
    if durable is None:
        return None
    from agentserver.invocations._durable_service import DurableService

    return DurableService(offered, durable)


def check_protocol_options(options: object, name: str) -> None:
    """Check that *options*, given as *name*, are `InvocationsServerOptions` or ``None``.

    Raises:
        ConfigurationError: If not.
    """
    if options is not None:
        from agentserver.invocations.options import InvocationsServerOptions  # most agents have none

        check_kind(options, InvocationsServerOptions, name)


def routes_of(
    handler: HandlerSource,
    offered: HandlerDefinition,
    host: HostContext,
    options: InvocationsServerOptions | None,
    durable: DurableService | None = None,
) -> list[Route]:
    """The routes of *handler*: HTTP, and the WebSocket where it has one.

    Raises:
        ServiceError: If its constructor asks for what nobody registered.
        ConfigurationError: If it is durable and there is no such store as the environment asks for.
    """
    made = handler_factory(handler, offered, host.provider)
    if durable is not None:
        durable.bind(host, made)
    if offered.contract is not None:
        from agentserver.invocations._typed_handler import (
            TypedHandlerFactory,
            handler_around,
        )  # the others do not pay

        made = TypedHandlerFactory(made, handler_around(offered.type, offered.contract))
    over_http = made
    if offered.messages is not None:
        from agentserver.invocations._typed_documents import documents_around
        from agentserver.invocations._typed_handler import TypedHandlerFactory

        over_http = TypedHandlerFactory(made, documents_around(offered.type, offered.messages))
        made = TypedHandlerFactory(made, offered.messages.around)
    if durable is None:
        routes = _endpoints(offered, over_http, host).routes()
    else:
        from agentserver.invocations._durable_calls import DurableCalls
        from agentserver.invocations._durable_endpoints import DurableEndpoints

        calls = DurableCalls(durable)
        routes = DurableEndpoints(offered, over_http, host, calls).routes()
        by_framework = offered.durable_websocket(calls)
        if by_framework is not None:
            made = PlainHandlerFactory(lambda: by_framework)
    if offered.interface.websockets:
        from agentserver.invocations._websocket_endpoint import (
            WebSocketEndpoint,  # HTTP alone does not pay for it
        )
        from agentserver.invocations.options import InvocationsServerOptions

        endpoint = WebSocketEndpoint(made, host, options or InvocationsServerOptions())
        routes += endpoint.routes(offered.interface.websockets)
    return routes


def _endpoints(offered: HandlerDefinition, made: HandlerFactory, host: HostContext) -> Endpoints:
    if offered.idempotent is None:
        return Endpoints(offered, made, host)
    from agentserver.invocations._idempotent_endpoints import IdempotentEndpoints  # most handlers are not

    return IdempotentEndpoints(offered, made, host, offered.idempotent)
