"""An agent inside an aiohttp application of one's own, under a prefix."""

import os

from agentserver import InvocationContext, InvocationHandler, map_invocations_server
from aiohttp import web


class EchoHandler(InvocationHandler):
    """Echoes the request's body."""

    async def handle(self, request: web.Request, context: InvocationContext) -> str:
        """Answer ``POST /v1/invocations``."""
        return f"You said: {await request.text()}"


async def index(_request: web.Request) -> web.Response:
    """Answer ``GET /``."""
    return web.Response(text="An application of my own")


def create_app() -> web.Application:
    """Make the application: its own routes, and the agent's under ``/v1``."""
    app = web.Application()
    app.router.add_get("/", index)
    map_invocations_server(app, EchoHandler, prefix="/v1")
    return app


if __name__ == "__main__":
    web.run_app(create_app(), port=int(os.environ.get("PORT") or 8088), handler_cancellation=True)
