"""The action protocol's caller: many invocations at once on one WebSocket (contract, section 6).

Three classes share the work. `ActionsConnection` is what callers hold; it lives as long as they do, and
makes a channel when it is entered. An `ActionChannel` is one WebSocket that speaks actions; it never
reconnects, so when it ends, everything under way on it has failed for good. An `ActionStream` is one
invocation on one channel.

With ``reconnect=``, the next call after a channel broke makes a new one, in the same session. What was
under way is not sent again, for it may have run: its caller was told, and decides. Callers that find the
channel broken at the same time wait for one attempt together, behind the lock.

Each call's time-out spans all that it may wait for: the new channel, a peer that does not read, and the
answer.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, TypeVar

from typing_extensions import Self

from agentserver.actions.frames import Invoke
from agentserver.client.action_channel import ActionChannel
from agentserver.client.action_runs import ActionRuns
from agentserver.client.action_stream import ActionResult, ActionStream, within
from agentserver.client.errors import ClientError, ConnectionClosedError
from agentserver.client.reconnect import Reconnector, is_resumable
from agentserver.client.retry import Retry, limit
from agentserver.client.websocket import Connection

__all__ = ["ActionsConnection"]

ResultT = TypeVar("ResultT")


class ActionsConnection(ActionRuns):
    """A connection that speaks actions, used as an asynchronous context manager by any number of tasks.

    Made by :meth:`InvocationsClient.actions`.
    """

    def __init__(
        self,
        connect: Callable[[str | None, bool], Connection],
        session_id: str | None,
        timeout: float,
        reconnect: Retry | None,
    ) -> None:
        self._connect = connect
        self._session_id = session_id
        self._timeout = timeout
        self._reconnector = None if reconnect is None else Reconnector(reconnect)
        self._opening = asyncio.Lock()
        self._channel: ActionChannel | None = None
        self._closed_by_us = False

    async def __aenter__(self) -> Self:
        """Connect; the errors are those of :meth:`Connection.__aenter__`."""
        await self._open(once=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; what runs on it ends with :class:`ConnectionClosedError`."""
        self._closed_by_us = True
        if self._channel is not None:
            await self._channel.close()

    async def closed(self) -> ConnectionClosedError:
        """Wait for the end of the present connection, whoever ends it, and return its code and reason.

        Raises:
            RuntimeError: If the connection was not opened.
            ClientError: If something else than a close ended it.
        """
        end = await self._opened().ended()
        if isinstance(end, ConnectionClosedError):
            return end
        raise end

    async def invoke(
        self,
        payload: Mapping[str, Any],
        *,
        invocation_id: str | None = None,
        session_id: str | None = None,
        timeout: float | None = None,
    ) -> ActionResult:
        """Invoke the agent and return its answer, a streamed one as the list of its payloads.

        Args:
            payload: A JSON object.
            invocation_id: The invocation's id; None makes one.
            session_id: The session's id; None is the client's, or the server's choice.
            timeout: Seconds until the answer must be complete; None is the client's ``timeouts.answer``.

        Raises:
            ActionError: If the agent answers with an error.
            ConnectionClosedError: If the connection ends first.
            DeadlineError: If the time-out passes first, be it because the agent does not answer, does not
                read, or is being connected to again; the invocation is then cancelled.
            ClientError: With reconnecting on, what the last attempt to connect again raised.
            ValueError: If the payload or an id cannot be sent.
        """
        seconds = limit(timeout, self._timeout)
        stream = self.stream(
            payload, invocation_id=invocation_id, session_id=session_id, idle_timeout=seconds
        )

        async def whole() -> ActionResult:
            async with stream:
                return await stream.result()

        return await within(seconds, whole(), stream.invocation_id)

    def stream(
        self,
        payload: Mapping[str, Any],
        *,
        invocation_id: str | None = None,
        session_id: str | None = None,
        idle_timeout: float | None = None,
    ) -> ActionStream:
        """Invoke the agent and iterate over the payloads of its answer; one that answers once gives one.

        .. code-block:: python

            async with actions.stream({"prompt": "tell me a story"}) as stream:
                async for payload in stream:
                    print(payload)

        Leaving the block early cancels the invocation. *payload*, *invocation_id* and *session_id* are as for
        :meth:`invoke`, and so are the errors, raised on entering the block and while iterating.
        *idle_timeout* is the seconds between two payloads; None is the client's ``timeouts.answer``.
        """
        chosen = str(uuid.uuid4()) if invocation_id is None else invocation_id
        frame = Invoke(payload, chosen, session_id or self._session_id)
        return ActionStream(self._usable, frame, chosen, limit(idle_timeout, self._timeout))

    async def get(self, invocation_id: str, *, timeout: float | None = None) -> Any:
        """Return the state of *invocation_id*, as the agent tells it; *timeout* is as for :meth:`invoke`.

        Raises:
            ActionError: ``not_found`` if the agent knows no such invocation or has no ``get``; the others as
                for :meth:`invoke`.
        """
        seconds = limit(timeout, self._timeout)
        asking = self._on_channel(lambda channel: channel.get(invocation_id))
        return await within(seconds, asking, invocation_id)

    async def cancel(self, invocation_id: str, *, timeout: float | None = None) -> Any:
        """Cancel *invocation_id*, even one that streams on this connection, and return the answer.

        *timeout* is as for :meth:`invoke`.

        Raises:
            ActionError: ``not_found`` if nothing runs under that id; the others as for :meth:`invoke`.
        """
        seconds = limit(timeout, self._timeout)
        asking = self._on_channel(lambda channel: channel.cancel(invocation_id))
        return await within(seconds, asking, invocation_id)

    async def ping(self, timeout: float = 10.0) -> float:
        """Send a Ping frame and return the seconds until its Pong.

        Raises:
            DeadlineError: If no Pong came within *timeout* seconds.
            ConnectionClosedError: If the connection ends first.
        """
        seconds = limit(timeout, timeout)
        return await within(seconds, self._on_channel(lambda channel: channel.ping(seconds)), None)

    async def _on_channel(self, act: Callable[[ActionChannel], Awaitable[ResultT]]) -> ResultT:
        return await act(await self._usable())

    def _opened(self) -> ActionChannel:
        if self._channel is None:
            raise RuntimeError("the connection is not open: enter it with 'async with'")
        return self._channel

    async def _usable(self) -> ActionChannel:
        """Return the open channel, a new one if the last broke and reconnecting was asked for."""
        channel = self._opened()
        if channel.end is None or not self._may_reconnect(channel.end):
            return channel
        async with self._opening:
            channel = self._opened()
            if self._reconnector is not None and channel.end is not None and self._may_reconnect(channel.end):
                channel = await self._reconnector.connect(self._open_again, channel.end)
        return channel

    def _may_reconnect(self, end: ClientError) -> bool:
        asked_for = self._reconnector is not None and not self._closed_by_us
        return asked_for and isinstance(end, ConnectionClosedError) and is_resumable(end.code)

    async def _open_again(self) -> ActionChannel:
        return await self._open(once=True)

    async def _open(self, *, once: bool) -> ActionChannel:
        connection = self._connect(self._session_id, once)
        await connection.__aenter__()
        if self._closed_by_us:  # while we were connecting
            await connection.close()
        if self._reconnector is not None:
            self._session_id = connection.session_id
            self._reconnector.opened()
        self._channel = ActionChannel(connection, self._alive)
        return self._channel

    def _alive(self) -> None:
        if self._reconnector is not None:
            self._reconnector.alive()
