"""The calls for durable runs over actions (contract, section 11): as over HTTP, on one connection."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

from agentserver.actions.frames import GetInvocation, Invoke
from agentserver.client.action_channel import ActionChannel
from agentserver.client.action_stream import ActionStream, within
from agentserver.client.endpoint import check_id
from agentserver.client.errors import ActionError, ClientError, ConnectionClosedError
from agentserver.client.retry import limit
from agentserver.client.run_state import RunState
from agentserver.wire import ErrorCode

__all__ = ["ActionRuns"]

ResultT = TypeVar("ResultT")


class ActionRuns:
    """The calls that are for durable runs; part of `ActionsConnection`."""

    _timeout: float
    _session_id: str | None

    async def _usable(self) -> ActionChannel:
        raise NotImplementedError

    def _may_reconnect(self, end: ClientError) -> bool:
        raise NotImplementedError

    def events(
        self, invocation_id: str, *, after: int = 0, idle_timeout: float | None = None
    ) -> ActionStream:
        """The events of a durable run, to its last one.

        .. code-block:: python

            run = await actions.invoke({"topic": "bees"})
            async with actions.events(run.invocation_id) as events:
                async for event in events:
                    print(event["id"], event.get("event"), event["data"])

        Each is a dictionary with ``id``, ``data`` and, if it is the framework's, ``event``. Leaving the block
        early changes nothing for the run. A connection that breaks is an error here: ask again with the id of
        the last event that came.

        Args:
            invocation_id: The run.
            after: The id of the last event that is known already; 0 begins with the first.
            idle_timeout: Seconds between two events; None is the client's ``timeouts.answer``.

        Raises:
            ActionError: ``not_found`` if there is no such run, ``gone`` if its events are no longer kept.
            ClientError: As :meth:`ActionsConnection.invoke` does; on entering the block and while iterating.
        """
        frame = GetInvocation(invocation_id, after)
        seconds = limit(idle_timeout, self._timeout)
        return ActionStream(self._usable, frame, invocation_id, seconds, goes_on=True)

    async def start(
        self,
        payload: Mapping[str, Any],
        *,
        key: str | None = None,
        invocation_id: str | None = None,
        session_id: str | None = None,
        timeout: float | None = None,
    ) -> RunState:
        """Begin a durable run, or join the one of that key or id.

        It begins once, also if a connection breaks meanwhile and reconnecting is on.

        Args:
            payload: A JSON object.
            key: The idempotency key: the same key and payload are the same run, as long as it is kept.
            invocation_id: The id of a new run; None makes one.
            session_id: As for :meth:`ActionsConnection.invoke`.
            timeout: Seconds until it must have begun; None is the client's ``timeouts.answer``. A run that
                begins later goes on: ask again with the same key.

        Returns:
            How the run stands that has begun, or that there is: its id is not *invocation_id* if the key is
            another one's.

        Raises:
            ActionError: ``idempotency_conflict`` if the key or id belongs to another payload,
                ``session_busy``, ``too_many_pending``, ``unavailable``; or that the payload is refused.
            AnswerError: If the agent is not durable.
            ClientError: As :meth:`ActionsConnection.invoke` does.
            ValueError: If the payload, the key or an id cannot be sent.
        """
        chosen = str(uuid.uuid4()) if invocation_id is None else invocation_id
        if key is not None:
            check_id("key", key)
        frame = Invoke(payload, chosen, session_id or self._session_id, key)
        seconds = limit(timeout, self._timeout)

        async def begin(channel: ActionChannel) -> Any:
            async def usable() -> ActionChannel:
                return channel

            async with ActionStream(usable, frame, chosen, seconds, goes_on=True) as stream:
                return (await stream.result()).payload

        return RunState.read(await within(seconds, self._surely(begin), chosen))

    async def wait(self, invocation_id: str, *, interval: float = 1.0, timeout: float = 300.0) -> RunState:
        """Ask with :meth:`ActionsConnection.get` until a durable run has ended, and return how.

        Args:
            invocation_id: The run.
            interval: Seconds between two questions, above 0.
            timeout: Seconds until it must have ended.

        Raises:
            DeadlineError: If it has not ended by then. It runs on.
            ActionError: ``not_found`` if there is no such run.
            AnswerError: If the agent is not durable.
            ClientError: As :meth:`ActionsConnection.invoke` does.
        """
        pause = limit(interval, 0.0, "the interval")

        async def end() -> RunState:
            while True:
                try:
                    run = RunState.read(await self._surely(lambda channel: channel.get(invocation_id)))
                    if run.ended:
                        return run
                except ActionError as error:
                    if error.code != ErrorCode.UNAVAILABLE.value:
                        raise
                await asyncio.sleep(pause)

        return await within(limit(timeout, 0.0), end(), invocation_id)

    async def signal(
        self, invocation_id: str, name: str, payload: Any = None, *, timeout: float | None = None
    ) -> Any:
        """Give a durable run what it waits for with ``run.wait_for(name)``; kept until it does.

        A signal whose answer was lost is not sent again, for the run would get it twice.

        Args:
            invocation_id: The run.
            name: The name of the signal, shaped as an id.
            payload: What comes with it, as JSON.
            timeout: As for :meth:`ActionsConnection.invoke`.

        Raises:
            ActionError: ``not_found`` if there is no such run, ``run_ended`` if it has ended.
            ClientError: As :meth:`ActionsConnection.invoke` does.
            ValueError: If the id, the name or the payload cannot be sent.
        """
        seconds = limit(timeout, self._timeout)

        async def ask() -> Any:
            return await (await self._usable()).signal(invocation_id, name, payload)

        return await within(seconds, ask(), invocation_id)

    async def list(
        self,
        *,
        status: str | None = None,
        session_id: str | None = None,
        page: int = 50,
        timeout: float | None = None,
    ) -> AsyncGenerator[RunState, None]:
        """The caller's own durable runs, newest first.

        Args:
            status: Only those that stand so: ``queued``, ``in_progress``, ``completed``, ``failed`` or
                ``cancelled``.
            session_id: Only those of that session.
            page: How many are asked for at once, 1 to 500.
            timeout: Seconds that one page may take; None is the client's ``timeouts.answer``.

        Raises:
            ActionError: ``invalid_action`` if the agent has no durable runs.
            AnswerError: If the answer is no list of runs.
            ClientError: As :meth:`ActionsConnection.invoke` does.
        """
        seconds = limit(timeout, self._timeout)
        asked = {"status": status, "session_id": session_id, "limit": page}
        which: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
        before: str | None = ""
        while before is not None:
            asking = self._surely(lambda channel: channel.list(which))
            runs, before = RunState.read_list(await within(seconds, asking, None))
            which["before"] = before
            for run in runs:
                yield run

    async def _surely(self, act: Callable[[ActionChannel], Awaitable[ResultT]]) -> ResultT:
        """What *act* gives; asked again on the next connection if one breaks: for what may be asked twice."""
        while True:
            channel = await self._usable()
            try:
                return await act(channel)
            except ConnectionClosedError as error:
                if not self._may_reconnect(error):
                    raise
