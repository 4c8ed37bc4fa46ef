"""Agent containers for Microsoft Foundry's hosted-agent protocols: subclass a handler and run it.

.. code-block:: python

    from aiohttp import web
    from agentserver import InvocationContext, InvocationHandler, InvocationsServer


    class EchoHandler(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> web.StreamResponse:
            return web.Response(text=f"You said: {await request.text()}")


    InvocationsServer.run(EchoHandler)
"""

from typing import TYPE_CHECKING, Any, Final

from agentserver._loading import load
from agentserver._version import __version__

if TYPE_CHECKING:
    from agentserver._services.collection import ServiceCollection
    from agentserver._telemetry.outgoing import client_session
    from agentserver.actions.context import ActionContext
    from agentserver.actions.handler import InvocationActionHandler
    from agentserver.durable.options import Durable
    from agentserver.durable.run import Run
    from agentserver.environment import FoundryEnvironment
    from agentserver.errors import (
        BadRequestError,
        InvocationError,
        NotFoundError,
        PlatformError,
        StartupError,
        TooManyRequestsError,
    )
    from agentserver.invocations.builder import AgentHost, AgentHostBuilder
    from agentserver.invocations.context import InvocationContext, IsolationContext, PlatformContext
    from agentserver.invocations.events import ServerSentEvent
    from agentserver.invocations.handler import InvocationHandler, InvocationWebSocketHandler
    from agentserver.invocations.options import InvocationsServerOptions
    from agentserver.invocations.server import InvocationsServer, map_invocations_server
    from agentserver.invocations.typed_websocket import TypedWebSocket
    from agentserver.options import AgentHostOptions

__all__ = [
    "ActionContext",
    "AgentHost",
    "AgentHostBuilder",
    "AgentHostOptions",
    "BadRequestError",
    "Durable",
    "FoundryEnvironment",
    "InvocationActionHandler",
    "InvocationContext",
    "InvocationError",
    "InvocationHandler",
    "InvocationWebSocketHandler",
    "InvocationsServer",
    "InvocationsServerOptions",
    "IsolationContext",
    "NotFoundError",
    "PlatformContext",
    "PlatformError",
    "Run",
    "ServerSentEvent",
    "ServiceCollection",
    "StartupError",
    "TooManyRequestsError",
    "TypedWebSocket",
    "__version__",
    "client_session",
    "map_invocations_server",
]

# Loaded at the first use: the client, the command line and the frames do not pay for the server.
_HOMES: Final[dict[str, str]] = {
    "ActionContext": "agentserver.actions.context",
    "InvocationActionHandler": "agentserver.actions.handler",
    "Durable": "agentserver.durable.options",
    "Run": "agentserver.durable.run",
    "FoundryEnvironment": "agentserver.environment",
    "AgentHostOptions": "agentserver.options",
    "ServiceCollection": "agentserver._services.collection",
    "client_session": "agentserver._telemetry.outgoing",
    "BadRequestError": "agentserver.errors",
    "InvocationError": "agentserver.errors",
    "NotFoundError": "agentserver.errors",
    "PlatformError": "agentserver.errors",
    "StartupError": "agentserver.errors",
    "TooManyRequestsError": "agentserver.errors",
    "AgentHost": "agentserver.invocations.builder",
    "AgentHostBuilder": "agentserver.invocations.builder",
    "InvocationContext": "agentserver.invocations.context",
    "IsolationContext": "agentserver.invocations.context",
    "PlatformContext": "agentserver.invocations.context",
    "ServerSentEvent": "agentserver.invocations.events",
    "InvocationHandler": "agentserver.invocations.handler",
    "InvocationWebSocketHandler": "agentserver.invocations.handler",
    "TypedWebSocket": "agentserver.invocations.typed_websocket",
    "InvocationsServer": "agentserver.invocations.server",
    "InvocationsServerOptions": "agentserver.invocations.options",
    "map_invocations_server": "agentserver.invocations.server",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'agentserver' has no attribute {name!r}")
    value = getattr(load(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
