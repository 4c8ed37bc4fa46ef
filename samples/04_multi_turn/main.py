"""An agent that remembers a conversation by its session id."""

from dataclasses import dataclass
from typing import Annotated

from agentserver import InvocationContext, InvocationHandler, InvocationsServer
from msgspec import Meta


@dataclass
class Message:
    """What the agent is told."""

    message: Annotated[str, Meta(examples=["hello"])]


@dataclass
class Remembered:
    """What it was told in this session."""

    turn: int
    first: str
    latest: str


class ConversationHandler(InvocationHandler[Message, Remembered]):
    """Keeps what was said, session by session; one object serves all requests."""

    def __init__(self) -> None:
        self._history: dict[str, list[str]] = {}

    async def handle(self, request: Message, context: InvocationContext) -> Remembered:
        """Remember the message and say how many there were."""
        history = self._history.setdefault(context.session_id, [])
        history.append(request.message)
        return Remembered(len(history), history[0], history[-1])


if __name__ == "__main__":
    InvocationsServer.run(ConversationHandler())
