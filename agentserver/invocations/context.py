"""What a handler is told about the invocation it serves."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from multidict import CIMultiDict, CIMultiDictProxy, MultiDict, MultiDictProxy

from agentserver._http.lifetime import Lifetime
from agentserver.wire import (
    CALL_ID_HEADER,
    CHAT_ISOLATION_KEY_HEADER,
    CLIENT_HEADER_PREFIX,
    USER_ID_HEADER,
    USER_ISOLATION_KEY_HEADER,
)

T = TypeVar("T")


@dataclass(frozen=True)
class IsolationContext:
    """The keys by which data of users and chats is kept apart; never logged.

    Args:
        user_isolation_key: From ``x-agent-user-isolation-key``; ``None`` without one.
        chat_isolation_key: From ``x-agent-chat-isolation-key``; ``None`` without one.
    """

    EMPTY: ClassVar[IsolationContext]

    user_isolation_key: str | None = None
    chat_isolation_key: str | None = None


IsolationContext.EMPTY = IsolationContext()


@dataclass(frozen=True)
class PlatformContext:
    """Who calls, as the platform says (container protocol 2.0.0); never logged.

    Args:
        user_id: From ``x-agent-user-id``; must not leave the container.
        call_id: From ``x-agent-foundry-call-id``; must go out again on calls to the platform's services.
    """

    EMPTY: ClassVar[PlatformContext]

    user_id: str | None = None
    call_id: str | None = None


PlatformContext.EMPTY = PlatformContext()


class InvocationContext:
    """The invocation that a handler serves: ids, the caller's headers and query, who calls. Immutable.

    A test may make one: ``InvocationContext(invocation_id="inv-1", session_id="s-1")``.

    Args:
        invocation_id: The id of this invocation; the key for what is stored per invocation.
        session_id: The id of the conversation; the key for what is stored per session.
        headers: The request's headers, of which the properties below show their parts.
        query: The request's query parameters.
        shutting_down: Set once the server was asked to stop, for those who want to wind down early; by
            default that of *lifetime*.
        lifetime: The server's, which counts what is spawned; a test needs none.
    """

    __slots__ = ("_headers", "_invocation_id", "_lifetime", "_query", "_session_id", "_shutting_down")

    def __init__(
        self,
        *,
        invocation_id: str,
        session_id: str,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        shutting_down: asyncio.Event | None = None,
        lifetime: Lifetime | None = None,
    ) -> None:
        self._invocation_id = invocation_id
        self._session_id = session_id
        self._headers = headers if isinstance(headers, CIMultiDictProxy) else CIMultiDict(headers or {})
        self._query = query if isinstance(query, MultiDictProxy) else MultiDictProxy(MultiDict(query or {}))
        self._lifetime = lifetime or Lifetime()
        self._shutting_down = shutting_down or self._lifetime.shutting_down

    @property
    def invocation_id(self) -> str:
        """The id of this invocation."""
        return self._invocation_id

    @property
    def session_id(self) -> str:
        """The id of the conversation this invocation belongs to."""
        return self._session_id

    @property
    def client_headers(self) -> CIMultiDictProxy[str]:
        """All ``x-client-*`` request headers under their full names; look-up ignores case."""
        found = ((k, v) for k, v in self._headers.items() if k.lower().startswith(CLIENT_HEADER_PREFIX))
        return CIMultiDictProxy(CIMultiDict(found))

    @property
    def query_parameters(self) -> MultiDictProxy[str]:
        """All query parameters, unchanged; several values of one name are kept."""
        return self._query

    @property
    def isolation(self) -> IsolationContext:
        """The isolation keys of the request."""
        return IsolationContext(
            self._header(USER_ISOLATION_KEY_HEADER), self._header(CHAT_ISOLATION_KEY_HEADER)
        )

    @property
    def platform(self) -> PlatformContext:
        """Who calls, as the platform says."""
        return PlatformContext(self._header(USER_ID_HEADER), self._header(CALL_ID_HEADER))

    @property
    def shutting_down(self) -> asyncio.Event:
        """Set once the server was asked to stop."""
        return self._shutting_down

    def spawn(self, work: Coroutine[Any, Any, T], *, name: str | None = None) -> asyncio.Task[T]:
        """Start *work* that may outlast this request: no client that leaves cancels it.

        .. code-block:: python

            context.spawn(self.summarise(context.session_id), name="summary")
            return {"status": "started"}

        It keeps the ids and the trace of the invocation: its log lines, spans and calls carry them. A server
        that ends waits for it as for a request, within the shutdown time-out, and then cancels it. Scoped
        services are closed with the request; *work* must not use them.

        Args:
            work: A coroutine, such as ``summarise()``.
            name: What the log calls it; the coroutine's own name by default.

        Returns:
            The task. Nobody has to await it: an error is logged, with the ids of the invocation.

        Raises:
            TypeError: If *work* is no coroutine.
        """
        if not inspect.iscoroutine(work):
            raise TypeError(f"spawn() takes a coroutine, such as spawn(work()), not {work!r}")
        return self._lifetime.spawn(work, name or work.__qualname__.rpartition("<locals>.")[2])

    def _header(self, name: str) -> str | None:
        # The first value, trimmed; empty means absent (contract, section 2).
        return (self._headers.get(name) or "").strip() or None

    def __repr__(self) -> str:
        return f"InvocationContext(invocation_id={self._invocation_id!r}, session_id={self._session_id!r})"
