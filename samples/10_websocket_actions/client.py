"""A terminal for the agent: a line is a prompt, Ctrl-C stops its answer, Ctrl-D leaves."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator

from agentserver.client import ActionsConnection, ClientError, InvocationsClient


async def over_actions(actions: ActionsConnection, prompt: str) -> AsyncIterator[str]:
    """The tokens of one invocation; leaving early cancels it."""
    async with actions.stream({"prompt": prompt}) as stream:
        async for payload in stream:
            yield payload["token"]


async def over_sse(client: InvocationsClient, prompt: str) -> AsyncIterator[str]:
    """The tokens of one streamed answer; leaving early closes its connection."""
    async with client.stream(prompt) as stream:
        async for event in stream.events():
            if event.event == "token":
                yield event.data


async def show(tokens: AsyncIterator[str]) -> None:
    """Print the tokens as they come."""
    try:
        async for token in tokens:
            print(token, end="", flush=True)
    except asyncio.CancelledError:
        print("(stopped)", end="")
    except ClientError as error:
        print(f"({error})", end="")
    print()


async def main(url: str, *, sse: bool) -> None:
    """Read prompts until the input ends."""
    loop = asyncio.get_running_loop()
    answering: list[asyncio.Task[None]] = []

    def stop(_signal: int, _frame: object) -> None:
        for task in answering:
            loop.call_soon_threadsafe(task.cancel)

    signal.signal(signal.SIGINT, stop)
    async with InvocationsClient(url) as client, client.actions() as actions:
        print("> ", end="", flush=True)
        while prompt := await asyncio.to_thread(sys.stdin.readline):
            tokens = over_sse(client, prompt.strip()) if sse else over_actions(actions, prompt.strip())
            answering[:] = [asyncio.create_task(show(tokens))]
            await answering[0]
            print("> ", end="", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?", default=f"http://localhost:{os.environ.get('PORT') or 8088}")
    parser.add_argument("--sse", action="store_true", help="server-sent events instead of actions")
    options = parser.parse_args()
    try:
        asyncio.run(main(options.url, sse=options.sse))
    except ClientError as error:
        sys.exit(str(error))
