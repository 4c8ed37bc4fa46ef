"""A handler behind the real server, in the test's own loop: without a port, or on a real socket."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import aiohttp

from agentserver.client import InvocationsClient, Timeouts
from agentserver.environment import FoundryEnvironment
from agentserver.invocations._handler_source import HandlerSource
from agentserver.invocations.builder import AgentHost, AgentHostBuilder
from agentserver.testing.aiohttp_internals import SocketConnector
from agentserver.testing.conditions import DEADLINE_SECONDS
from agentserver.testing.conversation import Conversation

if TYPE_CHECKING:
    from agentserver.actions.handler import InvocationActionHandler
    from agentserver.client.typed import TypedActionsClient, TypedClient, TypedWebSocketClient
    from agentserver.invocations.handler import In, InvocationHandler, InvocationWebSocketHandler, Out

__all__ = ["AgentUnderTest", "Configure", "in_process", "on_socket"]

Configure = Callable[[AgentHostBuilder], object]

_TIMEOUTS = Timeouts(connect=DEADLINE_SECONDS, answer=30.0, idle=30.0, close=5.0)


@dataclass(frozen=True)
class AgentUnderTest:
    """A running agent and the ways to talk to it.

    Args:
        host: The host that serves the handler.
        url: Its address; without a port, a name that only `client` and `http` know the way to.
        client: The project's client, for what callers do.
        http: An aiohttp client session, for what only the wire shows: statuses, headers, broken requests.
    """

    host: AgentHost
    url: str
    client: InvocationsClient
    http: aiohttp.ClientSession

    @overload
    def of(self, handler: type[InvocationActionHandler[In, Out]]) -> TypedActionsClient[In, Out]: ...

    @overload
    def of(self, handler: type[InvocationWebSocketHandler[In, Out]]) -> TypedWebSocketClient[In, Out]: ...

    @overload
    def of(self, handler: type[InvocationHandler[In, Out]]) -> TypedClient[In, Out]: ...

    def of(self, handler: type[InvocationHandler]) -> Any:
        """The client with the types of *handler*, which takes and gives objects.

        .. code-block:: python

            assert await agent.of(Greeter).invoke(Person("Ada")) == Greeting("Hello, Ada")

        Args:
            handler: The handler's class.

        Raises:
            StartupError: If it names no types.
        """
        return InvocationsClient.of(handler, self.client)

    def converse(
        self,
        *,
        session_id: str | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = DEADLINE_SECONDS,
    ) -> Conversation:
        """A WebSocket conversation, opened by ``async with``.

        Args:
            session_id: The session to resume; None leaves it to the server.
            query: Further query parameters.
            headers: Further headers of the upgrade.
            timeout: Seconds for each step.
        """
        client = self.client if session_id is None else self.client.session(session_id)
        connection = client.connect(query=query, headers=headers, heartbeat=None, max_message_size=0)
        return Conversation(connection, timeout=timeout)


@asynccontextmanager
async def in_process(
    handler: HandlerSource,
    configure: Configure | None = None,
    *,
    environment: Mapping[str, str] | None = None,
) -> AsyncGenerator[AgentUnderTest, None]:
    """Serve *handler* without a port: the whole server, connected by socket pairs.

    Everything between the client and the handler is real: HTTP, streams, WebSockets, errors, cancellation.

    Args:
        handler: A handler class, an object, or a function that makes one.
        configure: Called with the builder before the host is built: services, options, health checks.
        environment: The server's variables, such as `fake_environment()`; none of the process's own.

    Yields:
        The agent, which serves within the block, with a client of it.

    Raises:
        StartupError: If the handler cannot serve.
    """
    host = _build(handler, configure, environment)
    url = "http://agent.test"
    try:
        await host.start(listen=False)
        client = InvocationsClient(url, timeouts=_TIMEOUTS, connector=_connector(host))
        async with client, aiohttp.ClientSession(url, connector=_connector(host)) as http:
            yield AgentUnderTest(host, url, client, http)
    finally:
        await host.stop()


@asynccontextmanager
async def on_socket(
    handler: HandlerSource,
    configure: Configure | None = None,
    *,
    environment: Mapping[str, str] | None = None,
) -> AsyncGenerator[AgentUnderTest, None]:
    """Serve *handler* on a free port of 127.0.0.1, for clients of any kind.

    Args:
        handler: As for `in_process`.
        configure: As for `in_process`.
        environment: As for `in_process`.

    Yields:
        The agent, which serves within the block, with a client of it.

    Raises:
        StartupError: If the handler cannot serve.
    """
    async with _build(handler, configure, environment) as host:
        url = f"http://127.0.0.1:{host.port}"
        async with InvocationsClient(url, timeouts=_TIMEOUTS) as client, aiohttp.ClientSession(url) as http:
            yield AgentUnderTest(host, url, client, http)


def _build(
    handler: HandlerSource, configure: Configure | None, environment: Mapping[str, str] | None
) -> AgentHost:
    builder = AgentHost.create_builder(FoundryEnvironment.read(environment or {}))
    builder.add_invocations(handler)
    builder.configure(host="127.0.0.1", port=0)
    if configure is not None:
        configure(builder)
    return builder.build()


def _connector(host: AgentHost) -> aiohttp.BaseConnector:
    """Connects every request to *host* by a socket pair."""

    async def connect() -> socket.socket:
        ours, theirs = socket.socketpair()
        await host.accept(theirs)
        return ours

    return SocketConnector(connect)
