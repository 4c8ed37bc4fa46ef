"""Asks the agent with its own classes: what goes out and comes back is checked, here and by type checkers."""

import asyncio
import os
import sys

from agentserver.client import ClientError, InvocationsClient
from main import Chat, ChatRequest, Delta


async def ask(url: str, message: str) -> None:
    """Print the answer to *message*."""
    async with (
        InvocationsClient.of(Chat, url) as chat,
        chat.stream(ChatRequest(message)) as events,
    ):
        async for event in events:
            if isinstance(event, Delta):
                print(event.text)
            else:
                print(f"({event.words} words)")


if __name__ == "__main__":
    try:
        asyncio.run(
            ask(f"http://localhost:{os.environ.get('PORT') or 8088}", " ".join(sys.argv[1:]) or "Hello")
        )
    except ClientError as error:
        sys.exit(str(error))
