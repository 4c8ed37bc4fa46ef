"""An agent that echoes over HTTP and over WebSocket: one handler, one port."""

from agentserver import InvocationContext, InvocationsServer, InvocationWebSocketHandler
from aiohttp import WSMsgType, web


class EchoHandler(InvocationWebSocketHandler):
    """Sends back whatever comes, text as text and bytes as bytes."""

    async def handle(self, request: web.Request, context: InvocationContext) -> str:
        """Answer ``POST /invocations``."""
        return f"You said: {await request.text()}"

    async def handle_websocket(self, websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        """Serve one connection to ``/invocations_ws`` until the client closes it."""
        async for message in websocket:
            if message.type is WSMsgType.TEXT:
                await websocket.send_str(message.data)
            else:
                await websocket.send_bytes(message.data)


if __name__ == "__main__":
    InvocationsServer.run(EchoHandler)
