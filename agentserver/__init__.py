"""Agent containers for Microsoft Foundry's hosted-agent protocols: subclass a handler and run it.

.. code-block:: python

    from aiohttp import web
    from agentserver import InvocationContext, InvocationHandler, InvocationsServer


    class EchoHandler(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> web.StreamResponse:
            return web.Response(text=f"You said: {await request.text()}")


    InvocationsServer.run(EchoHandler)
"""

from agentserver.core.environment import FoundryEnvironment
from agentserver.core.identity import __version__
from agentserver.core.options import AgentHostOptions
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
from agentserver.invocations.server import (
    InvocationsServer,
    InvocationsServerOptions,
    map_invocations_server,
)

__all__ = [
    "AgentHost",
    "AgentHostBuilder",
    "AgentHostOptions",
    "BadRequestError",
    "FoundryEnvironment",
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
    "ServerSentEvent",
    "StartupError",
    "TooManyRequestsError",
    "__version__",
    "map_invocations_server",
]
