"""The shortest agent there is: it says back what it was told."""

from agentserver import InvocationContext, InvocationHandler, InvocationsServer
from aiohttp import web


class EchoHandler(InvocationHandler):
    """Echoes the request's body."""

    async def handle(self, request: web.Request, context: InvocationContext) -> web.StreamResponse:
        """Answer ``POST /invocations``."""
        return web.Response(text=f"You said: {await request.text()}")


if __name__ == "__main__":
    InvocationsServer.run(EchoHandler)
