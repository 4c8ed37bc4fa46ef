"""An agent that remembers a conversation by its session id."""

from typing import Any

from aiohttp import web

from agentserver import BadRequestError, InvocationContext, InvocationHandler, InvocationsServer


class ConversationHandler(InvocationHandler):
    """Keeps what was said, session by session; one object serves all requests."""

    def __init__(self) -> None:
        self._history: dict[str, list[str]] = {}

    async def handle(self, request: web.Request, context: InvocationContext) -> dict[str, Any]:
        """Remember the message and say how many there were."""
        try:
            message: str = (await request.json())["message"]
        except (KeyError, TypeError):
            raise BadRequestError('Send JSON like {"message": "hello"}') from None
        history = self._history.setdefault(context.session_id, [])
        history.append(message)
        return {"turn": len(history), "first": history[0], "latest": history[-1]}


if __name__ == "__main__":
    InvocationsServer.run(ConversationHandler())
