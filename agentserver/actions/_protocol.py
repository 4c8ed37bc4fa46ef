"""Which frame may follow which, for both ends of a connection (contract, section 6). No input, no output.

One table says how an invocation goes on; the server's end is held to it before a frame goes out, the
client's end when one comes in:

.. code-block:: text

    waiting ──result─────────────────────────▶ ended
       │ ├───stream_end, error────────────────▶ ended
       │ └───chunk──▶ streaming ──end, error──▶ ended
       └──cancel──▶ cancelling ◀──cancel── streaming        (the server's end only)
                        └──whatever ends it goes out as the error "cancelled"──▶ ended
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

from agentserver.actions._codec import decode_action, decode_message, encode_message, is_id
from agentserver.actions.frames import (
    CancelInvocation,
    ErrorFrame,
    FrameError,
    GetInvocation,
    InvocationFrame,
    Invoke,
    Ping,
    Pong,
    Result,
    StreamChunk,
    StreamEnd,
)
from agentserver.wire import ErrorCode

__all__ = [
    "Answer",
    "ClientEvent",
    "ClientProtocol",
    "Invocation",
    "Notice",
    "OrderError",
    "Phase",
    "Progress",
    "Query",
    "Respond",
    "ServerEvent",
    "ServerProtocol",
    "Start",
]


_CANCELLED = ErrorCode.CANCELLED.value
_QueryFrame = TypeVar("_QueryFrame", GetInvocation, CancelInvocation)


class Phase(Enum):
    """How far an invocation has come."""

    WAITING = "waiting"
    STREAMING = "streaming"
    CANCELLING = "cancelling"
    ENDED = "ended"


class OrderError(Exception):
    """A frame that may not come now: this end's mistake on sending, the other end's on receiving."""


_NEXT: Mapping[tuple[Phase, type[InvocationFrame]], Phase] = {
    (Phase.WAITING, Result): Phase.ENDED,
    (Phase.WAITING, StreamChunk): Phase.STREAMING,
    (Phase.WAITING, StreamEnd): Phase.ENDED,
    (Phase.WAITING, ErrorFrame): Phase.ENDED,
    (Phase.STREAMING, StreamChunk): Phase.STREAMING,
    (Phase.STREAMING, StreamEnd): Phase.ENDED,
    (Phase.STREAMING, ErrorFrame): Phase.ENDED,
    (Phase.CANCELLING, Result): Phase.ENDED,
    (Phase.CANCELLING, StreamChunk): Phase.CANCELLING,
    (Phase.CANCELLING, StreamEnd): Phase.ENDED,
    (Phase.CANCELLING, ErrorFrame): Phase.ENDED,
}


def _next(phase: Phase, frame: InvocationFrame) -> Phase:
    following = _NEXT.get((phase, type(frame)))
    if following is None:
        raise OrderError(f"{type(frame).__name__} may not follow when the invocation is {phase.value}")
    return following


def _new_id() -> str:
    return str(uuid.uuid4())


# --- The server's end


class Invocation:
    """The server's view of one invocation: writes its frames, in an order that the table allows.

    Its methods return what must go out, as UTF-8. They raise :class:`OrderError` if the frame may not come
    now, and what :func:`encode_message` raises if the payload is no JSON; either way nothing has changed.
    """

    __slots__ = ("_phase", "invocation_id", "session_id")

    def __init__(self, invocation_id: str, session_id: str) -> None:
        self.invocation_id = invocation_id
        self.session_id = session_id
        self._phase = Phase.WAITING

    @property
    def phase(self) -> Phase:
        """How far it has come."""
        return self._phase

    def chunk(self, payload: Any) -> bytes:
        """Write one piece of the answer."""
        return self._write(StreamChunk(self.invocation_id, self.session_id, payload))

    def result(self, payload: Any) -> bytes:
        """Write the last frame of an invocation that answers once."""
        return self._write(Result(self.invocation_id, payload, self.session_id))

    def end(self) -> bytes:
        """Write the last frame of a stream."""
        return self._write(StreamEnd(self.invocation_id, self.session_id))

    def error(self, code: str, message: str) -> bytes:
        """Write the last frame of an invocation that failed."""
        return self._write(ErrorFrame(code, message, self.invocation_id, self.session_id))

    def cancel(self) -> bool:
        """From now on whatever ends the invocation goes out as ``cancelled``; False: it has ended already."""
        if self._phase is Phase.ENDED:
            return False
        self._phase = Phase.CANCELLING
        return True

    def _write(self, frame: InvocationFrame) -> bytes:
        following = _next(self._phase, frame)
        if self._phase is Phase.CANCELLING and following is Phase.ENDED:
            frame = ErrorFrame(
                _CANCELLED, "The invocation was cancelled", self.invocation_id, self.session_id
            )
        data = encode_message(frame)
        self._phase = following
        return data


@dataclass(frozen=True)
class Start:
    """The server must run ``invoke``, and :meth:`ServerProtocol.release` the event when that is over."""

    invocation: Invocation
    payload: Mapping[str, Any]


@dataclass(frozen=True)
class Query:
    """The server must answer a get or a cancel, and :meth:`ServerProtocol.release` the event when it has.

    Answers to queries about one id must go out in the order of the queries: nothing else tells them apart.
    """

    frame: GetInvocation | CancelInvocation
    session_id: str

    def result(self, payload: Any) -> bytes:
        """Write the answer, as UTF-8; raises what :func:`encode_message` raises."""
        return encode_message(Result(self.frame.invocation_id, payload))

    def error(self, code: str, message: str) -> bytes:
        """Write the answer that says why there is none."""
        return encode_message(ErrorFrame(code, message, self.frame.invocation_id))


@dataclass(frozen=True)
class Respond:
    """This end must send *frame*; nothing else is to be done."""

    frame: ErrorFrame | Pong


ServerEvent = Start | Query | Respond


class ServerProtocol:
    """The server's end of one connection: what a client's message means now.

    Args:
        limit: How many invocations may be under way at once, and how many gets and cancels; at least 1.
        session_id: The session of every invocation that names none; None: a new one each.
        new_id: Makes the ids that nobody gave.
    """

    def __init__(
        self, *, limit: int = 64, session_id: str | None = None, new_id: Callable[[], str] = _new_id
    ) -> None:
        self._limit = limit
        self._session_id = session_id
        self._new_id = new_id
        self._invocations: dict[str, Invocation] = {}
        self._queries = 0

    @property
    def invocations(self) -> Mapping[str, Invocation]:
        """The invocations that were started and not released, by id."""
        return self._invocations

    def receive(self, text: str) -> ServerEvent | None:
        """Take one text message of the client; None: nothing is to be done. Never raises."""
        try:
            frame = decode_action(text)
        except FrameError as error:
            return Respond(ErrorFrame(error.code, error.message, error.invocation_id))
        if isinstance(frame, Invoke):
            return self._start(frame)
        if isinstance(frame, (GetInvocation, CancelInvocation)):
            return self._query(frame)
        return Respond(Pong()) if isinstance(frame, Ping) else None

    def receive_binary(self) -> Respond:
        """Take one binary message of the client: the protocol has none."""
        return Respond(
            ErrorFrame(ErrorCode.INVALID_MESSAGE.value, "A binary message is no action; send JSON as text")
        )

    def release(self, event: Start | Query) -> None:
        """Say that the last frame of *event* has been written; its id and its place are free again."""
        if isinstance(event, Start):
            del self._invocations[event.invocation.invocation_id]
        else:
            self._queries -= 1

    def _start(self, frame: Invoke) -> Start | Respond:
        invocation_id = frame.invocation_id or self._new_id()
        if invocation_id in self._invocations:
            # No session id: with one the frame would end the invocation that has this id.
            return Respond(
                ErrorFrame(
                    ErrorCode.INVALID_REQUEST.value,
                    "An invocation with this invocation_id is still running",
                    invocation_id,
                )
            )
        session_id = frame.session_id or self._session_id or self._new_id()
        if len(self._invocations) >= self._limit:
            return Respond(self._too_many("invocations", invocation_id, session_id))
        invocation = self._invocations[invocation_id] = Invocation(invocation_id, session_id)
        return Start(invocation, frame.payload)

    def _query(self, frame: GetInvocation | CancelInvocation) -> Query | Respond:
        if self._queries >= self._limit:
            return Respond(self._too_many("gets and cancels", frame.invocation_id))
        self._queries += 1
        running = self._invocations.get(frame.invocation_id)
        session_id = running.session_id if running else self._session_id or self._new_id()
        return Query(frame, session_id)

    def _too_many(self, what: str, invocation_id: str, session_id: str | None = None) -> ErrorFrame:
        message = (
            f"This connection has {self._limit} {what} under way, the most it may have; wait for one to end"
        )
        return ErrorFrame(ErrorCode.TOO_MANY_REQUESTS.value, message, invocation_id, session_id)


# --- The client's end


@dataclass(frozen=True)
class Progress:
    """A frame of an invocation that this client started. Any but a chunk is its last."""

    frame: InvocationFrame

    @property
    def last(self) -> bool:
        """Whether the invocation has ended."""
        return not isinstance(self.frame, StreamChunk)


@dataclass(frozen=True)
class Answer:
    """The answer to the oldest open *query* about its id."""

    query: GetInvocation | CancelInvocation
    frame: Result | ErrorFrame


@dataclass(frozen=True)
class Notice:
    """An error that belongs to no invocation and no query: the server could not read a frame."""

    frame: ErrorFrame


ClientEvent = Progress | Answer | Notice | Respond


class ClientProtocol:
    """The client's end of one connection: makes the actions, and says what each answer is about."""

    def __init__(self, *, new_id: Callable[[], str] = _new_id) -> None:
        self._new_id = new_id
        self._phases: dict[str, Phase] = {}
        self._queries: dict[str, deque[GetInvocation | CancelInvocation]] = {}

    def invoke(
        self, payload: Mapping[str, Any], *, invocation_id: str | None = None, session_id: str | None = None
    ) -> Invoke:
        """Open an invocation; the frame has an id even when none was given.

        Raises:
            ValueError: If an id breaks the rules (contract, section 2) or its invocation is still open.
        """
        chosen = self._new_id() if invocation_id is None else _checked(invocation_id, "invocation_id")
        if session_id is not None:
            _checked(session_id, "session_id")
        if chosen in self._phases:
            raise ValueError("an invocation with this invocation_id is still open on this connection")
        self._phases[chosen] = Phase.WAITING
        return Invoke(payload, chosen, session_id)

    def get(self, invocation_id: str) -> GetInvocation:
        """Open a question for the state of an invocation.

        Raises:
            ValueError: If *invocation_id* breaks the rules (contract, section 2).
        """
        return self._ask(GetInvocation(_checked(invocation_id, "invocation_id")))

    def cancel(self, invocation_id: str) -> CancelInvocation:
        """Open a request to cancel an invocation.

        Raises:
            ValueError: If *invocation_id* breaks the rules (contract, section 2).
        """
        return self._ask(CancelInvocation(_checked(invocation_id, "invocation_id")))

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

    def _ask(self, query: _QueryFrame) -> _QueryFrame:
        self._queries.setdefault(query.invocation_id, deque()).append(query)
        return query

    def _is_known(self, frame: ErrorFrame) -> bool:
        return frame.invocation_id in self._queries or frame.invocation_id in self._phases

    def _answer(self, frame: InvocationFrame) -> Answer | None:
        if not isinstance(frame, (Result, ErrorFrame)) or frame.session_id is not None:
            return None
        queries = self._queries.get(frame.invocation_id or "")
        if queries is None:
            return None
        query = queries.popleft()
        if not queries:
            del self._queries[query.invocation_id]
        return Answer(query, frame)

    def _progress(self, frame: InvocationFrame) -> Progress:
        invocation_id = frame.invocation_id or ""
        phase = self._phases.get(invocation_id)
        if phase is None:
            raise OrderError(f"{type(frame).__name__} is for an invocation that is not open")
        following = _next(phase, frame)
        if following is Phase.ENDED:
            del self._phases[invocation_id]
        else:
            self._phases[invocation_id] = following
        return Progress(frame)


def _checked(value: str, name: str) -> str:
    if not is_id(value):
        raise ValueError(f"{name} must be 1 to 256 letters, digits, dots, underscores, colons or hyphens")
    return value
