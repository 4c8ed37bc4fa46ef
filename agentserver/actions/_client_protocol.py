"""The client's end: makes the actions, and says what each answer is about. No input, no output.

It is held to the table of ``_state``, as the server's end is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from agentserver.actions._codec import decode_message, is_id
from agentserver.actions._state import OrderError, Phase, Respond, new_id, next_phase
from agentserver.actions.frames import (
    CancelInvocation,
    ErrorFrame,
    GetInvocation,
    InvocationFrame,
    Invoke,
    ListInvocations,
    Ping,
    Pong,
    Query,
    Result,
    SignalInvocation,
    StreamChunk,
)

__all__ = ["ClientEvent", "ClientProtocol", "Notice", "Progress", "QueryAnswer"]

_QueryFrame = TypeVar("_QueryFrame", bound=Query)


@dataclass(frozen=True)
class Progress:
    """A frame of an invocation that this client started. Any but a chunk is its last."""

    frame: InvocationFrame

    @property
    def last(self) -> bool:
        """Whether the invocation has ended."""
        return not isinstance(self.frame, StreamChunk)


@dataclass(frozen=True)
class QueryAnswer:
    """The answer to the oldest open *query* about its id."""

    query: Query
    frame: Result | ErrorFrame


@dataclass(frozen=True)
class Notice:
    """An error that belongs to no invocation and no query: the server could not read a frame."""

    frame: ErrorFrame


ClientEvent = Progress | QueryAnswer | Notice | Respond


class ClientProtocol:
    """The client's end of one connection: makes the actions, and says what each answer is about."""

    def __init__(self, *, new_id: Callable[[], str] = new_id) -> None:
        self._new_id = new_id
        self._phases: dict[str, Phase] = {}
        self._queries: dict[str, deque[Query]] = {}

    def invoke(
        self, payload: Mapping[str, Any], *, invocation_id: str | None = None, session_id: str | None = None
    ) -> Invoke:
        """Open an invocation; the frame has an id even when none was given.

        Raises:
            ValueError: If an id breaks the rules (contract, section 2) or its invocation is still open.
        """
        if session_id is not None:
            _checked(session_id, "session_id")
        chosen = self._opened(self._new_id() if invocation_id is None else invocation_id)
        return Invoke(payload, chosen, session_id)

    def get(self, invocation_id: str) -> GetInvocation:
        """Open a question for the state of an invocation.

        Raises:
            ValueError: If *invocation_id* breaks the rules (contract, section 2).
        """
        return self._ask(GetInvocation(_checked(invocation_id, "invocation_id")))

    def read(self, invocation_id: str, after: int) -> GetInvocation:
        """Open a reading of a durable run's events above the id *after*; they come as an invocation's chunks.

        Raises:
            ValueError: If *invocation_id* breaks the rules, or is still open.
        """
        chosen = self._opened(invocation_id)
        return GetInvocation(chosen, after)

    def cancel(self, invocation_id: str) -> CancelInvocation:
        """Open a request to cancel an invocation.

        Raises:
            ValueError: If *invocation_id* breaks the rules (contract, section 2).
        """
        return self._ask(CancelInvocation(_checked(invocation_id, "invocation_id")))

    def signal(self, invocation_id: str, name: str, payload: Any) -> SignalInvocation:
        """Open a request to give a durable run a signal.

        Raises:
            ValueError: If *invocation_id* or *name* breaks the rules (contract, section 2).
        """
        chosen = _checked(invocation_id, "invocation_id")
        return self._ask(SignalInvocation(chosen, _checked(name, "name"), payload))

    def list(self, which: Mapping[str, Any]) -> ListInvocations:
        """Open a question for the durable runs that *which* means."""
        return self._ask(ListInvocations(self._new_id(), which))

    def receive(self, text: str) -> ClientEvent | None:
        """Take one text message of the server; None: nothing is to be done.

        Raises:
            FrameError: If *text* is no server frame.
            OrderError: If the frame may not come now. The connection cannot be trusted after either.
        """
        frame = decode_message(text)
        if isinstance(frame, Ping):
            return Respond(Pong())
        if isinstance(frame, Pong):
            return None
        if isinstance(frame, ErrorFrame) and not self._is_known(frame):
            return Notice(frame)
        return self._answer(frame) or self._progress(frame)

    def _opened(self, invocation_id: str) -> str:
        _checked(invocation_id, "invocation_id")
        if invocation_id in self._phases:
            raise ValueError("an invocation with this invocation_id is still open on this connection")
        self._phases[invocation_id] = Phase.WAITING
        return invocation_id

    def _ask(self, query: _QueryFrame) -> _QueryFrame:
        self._queries.setdefault(query.invocation_id, deque()).append(query)
        return query

    def _is_known(self, frame: ErrorFrame) -> bool:
        return frame.invocation_id in self._queries or frame.invocation_id in self._phases

    def _answer(self, frame: InvocationFrame) -> QueryAnswer | None:
        if not isinstance(frame, (Result, ErrorFrame)) or frame.session_id is not None:
            return None
        queries = self._queries.get(frame.invocation_id or "")
        if queries is None:
            return None
        query = queries.popleft()
        if not queries:
            del self._queries[query.invocation_id]
        return QueryAnswer(query, frame)

    def _progress(self, frame: InvocationFrame) -> Progress:
        invocation_id = frame.invocation_id or ""
        phase = self._phases.get(invocation_id)
        if phase is None:
            raise OrderError(f"{type(frame).__name__} is for an invocation that is not open")
        following = next_phase(phase, type(frame))
        if following is Phase.ENDED:
            del self._phases[invocation_id]
        else:
            self._phases[invocation_id] = following
        return Progress(frame)


def _checked(value: str, name: str) -> str:
    if not is_id(value):
        raise ValueError(f"{name} must be 1 to 256 letters, digits, dots, underscores, colons or hyphens")
    return value
