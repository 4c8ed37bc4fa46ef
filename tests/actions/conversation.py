"""A client that speaks the action protocol with nothing of ours: the ``websockets`` package and JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from agentserver.invocations._handler_source import HandlerSource
from agentserver.testing import on_socket
from tests.servers import DEADLINE

Frame = dict[str, Any]


class Conversation:
    """One connection: sends actions, gives out the server's frames in order."""

    def __init__(self, websocket: ClientConnection) -> None:
        self.websocket = websocket

    async def say(self, text: str | bytes) -> None:
        """Send a message as it is."""
        await self.websocket.send(text)

    async def act(self, action: str, invocation_id: str | None = None, **members: Any) -> None:
        """Send an action."""
        named = {} if invocation_id is None else {"invocation_id": invocation_id}
        await self.say(json.dumps({"action": action, **named, **members}))

    async def invoke(
        self, invocation_id: str | None = None, session_id: str | None = None, **payload: Any
    ) -> None:
        """Send an invoke."""
        session = {} if session_id is None else {"session_id": session_id}
        await self.act("invoke", invocation_id, payload=payload, **session)

    async def frame(self) -> Frame:
        """The next frame."""
        frame: Frame = json.loads(await asyncio.wait_for(self.websocket.recv(decode=True), DEADLINE))
        return frame

    async def frames(self, count: int) -> list[Frame]:
        """The next frames."""
        return [await self.frame() for _ in range(count)]

    async def until_end(self, invocation_id: str) -> list[Frame]:
        """The frames of one invocation, to its last; others are dropped."""
        return [frame async for frame in self._of(invocation_id)]

    async def _of(self, invocation_id: str) -> AsyncIterator[Frame]:
        while True:
            frame = await self.frame()
            if frame.get("invocation_id") == invocation_id and "session_id" in frame:
                yield frame
                if frame["type"] != "stream_chunk":
                    return

    async def error(self) -> Frame:
        """The next frame, which must be an error: its ids, its code and its message in one dictionary."""
        frame = await self.frame()
        assert frame.pop("type") == "error", frame
        return {**frame.pop("error"), **frame}


@asynccontextmanager
async def conversing(
    url: str, path: str = "/invocations_ws", *, compression: str | None = None
) -> AsyncGenerator[Conversation]:
    """A conversation with the server at *url*."""
    async with connect(
        url.replace("http", "ws", 1) + path,
        compression=compression,
        ping_interval=None,
        open_timeout=DEADLINE,
    ) as websocket:
        yield Conversation(websocket)


@asynccontextmanager
async def talking_to(
    handler: HandlerSource, path: str = "/invocations_ws", **environment: str
) -> AsyncGenerator[Conversation]:
    """A conversation with a host that serves *handler*."""
    async with (
        on_socket(handler, environment=environment) as agent,
        conversing(agent.url, path) as conversation,
    ):
        yield conversation
