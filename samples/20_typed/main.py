"""An agent that names what it takes and gives: bodies are checked, and its document is written for it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Literal

from agentserver import InvocationContext, InvocationHandler, InvocationsServer
from msgspec import Meta


@dataclass
class ChatRequest:
    """What the agent is asked."""

    message: Annotated[str, Meta(min_length=1, examples=["Hello there"])]
    language: Literal["en", "fr"] = "en"


@dataclass
class Delta:
    """A piece of the answer."""

    text: str


@dataclass
class Done:
    """The end of the answer."""

    words: int


class Chat(InvocationHandler[ChatRequest, Delta | Done]):
    """Says back what it was told, one event for each word."""

    async def handle(self, request: ChatRequest, context: InvocationContext) -> AsyncIterator[Delta | Done]:
        """Answer with an event for each word."""
        words = request.message.split()
        for word in words:
            yield Delta(word.upper() if request.language == "en" else word.capitalize())
        yield Done(len(words))


if __name__ == "__main__":
    InvocationsServer.run(Chat)
