"""What a handler is told about the invocation that an action is about."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from agentserver._http.lifetime import Lifetime
from agentserver.invocations.context import InvocationContext

__all__ = ["ActionContext"]


async def _nothing_runs() -> bool:
    return False


class ActionContext(InvocationContext):
    """The invocation that an action is about, and all that the connection's context has. Immutable.

    A test may make one: ``ActionContext(invocation_id="inv-1", session_id="s-1")``.

    Args:
        invocation_id: The id of this invocation, not of the connection.
        session_id: The id of the conversation.
        headers: The headers of the request that opened the connection.
        query: Its query parameters.
        shutting_down: Set once the server was asked to stop.
        lifetime: The server's, as for `InvocationContext`.
        cancel: Cancels the running invocation of this id; by default nothing runs.
    """

    __slots__ = ("_cancel",)

    def __init__(
        self,
        *,
        invocation_id: str,
        session_id: str,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        shutting_down: asyncio.Event | None = None,
        lifetime: Lifetime | None = None,
        cancel: Callable[[], Awaitable[bool]] = _nothing_runs,
    ) -> None:
        super().__init__(
            invocation_id=invocation_id,
            session_id=session_id,
            headers=headers,
            query=query,
            shutting_down=shutting_down,
            lifetime=lifetime,
        )
        self._cancel = cancel

    async def cancel(self) -> bool:
        """Cancel the running invocation of this id, and wait until its last frame is on its way.

        Returns:
            False if no invocation of this id runs on this connection.
        """
        return await self._cancel()
