"""The server's end of the action protocol: what a client's message means, and what may be answered. No I/O.

How it works. `ServerProtocol.receive` takes the text of one message and returns what it means: a `Start`
(run ``invoke``), a `Query` (answer what is asked of an invocation), a `Respond` (send this frame, nothing
else), or nothing. It never raises: what cannot be read is a `Respond` with the error. Who runs a `Start` or a
`Query` writes its frames with the methods of the `Invocation` or the `Query`, which return UTF-8, and gives
it back with `release`, so that its id and its place under the limit are free again.

An `Invocation` is held to the table of ``_state``: a frame that may not come now is an `OrderError` before
it goes out. Once it is cancelled, whatever ends it goes out as the error ``cancelled``. Nothing but their
order tells the answers to two queries about one id apart, so they must go out in the order of the queries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from agentserver.actions import frames
from agentserver.actions._codec import chunk_encoder, decode_action, encode_message
from agentserver.actions._state import Phase, Respond, new_id, next_phase
from agentserver.actions.frames import (
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

__all__ = ["Invocation", "Query", "ServerEvent", "ServerProtocol", "Start"]

_CANCELLED = ErrorCode.CANCELLED.value
_NO_DETAILS: Final[Mapping[str, object]] = MappingProxyType({})


class Invocation:
    """The server's view of one invocation: writes its frames, in an order that the table allows.

    Its methods return what must go out, as UTF-8. They raise :class:`OrderError` if the frame may not come
    now, and what :func:`encode_message` raises if the payload is no JSON; either way nothing has changed.
    """

    __slots__ = ("_encode_chunk", "_phase", "invocation_id", "session_id")

    def __init__(self, invocation_id: str, session_id: str) -> None:
        self.invocation_id = invocation_id
        self.session_id = session_id
        self._phase = Phase.WAITING
        self._encode_chunk: Callable[[Any], bytes] | None = None

    @property
    def phase(self) -> Phase:
        """How far it has come."""
        return self._phase

    def chunk(self, payload: Any) -> bytes:
        """Write one piece of the answer."""
        following = next_phase(self._phase, StreamChunk)
        if self._encode_chunk is None:
            self._encode_chunk = chunk_encoder(self.invocation_id, self.session_id)
        data = self._encode_chunk(payload)
        self._phase = following
        return data

    def result(self, payload: Any) -> bytes:
        """Write the last frame of an invocation that answers once."""
        return self._write(Result(self.invocation_id, payload, self.session_id))

    def end(self) -> bytes:
        """Write the last frame of a stream."""
        return self._write(StreamEnd(self.invocation_id, self.session_id))

    def error(self, code: str, message: str, details: Mapping[str, object] = _NO_DETAILS) -> bytes:
        """Write the last frame of an invocation that failed; *details* are further members of ``error``."""
        return self._write(ErrorFrame(code, message, self.invocation_id, self.session_id, details))

    def cancel(self) -> bool:
        """From now on whatever ends the invocation goes out as ``cancelled``; False: it has ended already."""
        if self._phase is Phase.ENDED:
            return False
        self._phase = Phase.CANCELLING
        return True

    def _write(self, frame: InvocationFrame) -> bytes:
        following = next_phase(self._phase, type(frame))
        if self._phase is Phase.CANCELLING and following is Phase.ENDED:
            frame = ErrorFrame(
                _CANCELLED, "The invocation was cancelled", self.invocation_id, self.session_id
            )
        data = encode_message(frame)
        self._phase = following
        return data


@dataclass(frozen=True)
class Start:
    """The server must run ``invoke``, and :meth:`ServerProtocol.release` the event when that is over.

    With ``after`` it must read the events of the durable run above that id instead.
    """

    invocation: Invocation
    payload: Mapping[str, Any]
    after: int | None = None
    key: str | None = None


@dataclass(frozen=True)
class Query:
    """The server must answer a get, a cancel or the like, and then :meth:`ServerProtocol.release` the event.

    Answers to queries about one id must go out in the order of the queries: nothing else tells them apart.
    """

    frame: frames.Query
    session_id: str

    def result(self, payload: Any) -> bytes:
        """Write the answer, as UTF-8; raises what :func:`encode_message` raises."""
        return encode_message(Result(self.frame.invocation_id, payload))

    def error(self, code: str, message: str, details: Mapping[str, object] = _NO_DETAILS) -> bytes:
        """Write the answer that says why there is none; *details* are further members of ``error``."""
        return encode_message(ErrorFrame(code, message, self.frame.invocation_id, details=details))


ServerEvent = Start | Query | Respond


class ServerProtocol:
    """The server's end of one connection: what a client's message means now.

    Args:
        limit: How many invocations may be under way at once, and how many gets and cancels; at least 1.
        session_id: The session of every invocation that names none; None: a new one each.
        new_id: Makes the ids that nobody gave.
        durable: Whether invocations are durable runs, of which more can be asked.
    """

    def __init__(
        self,
        *,
        limit: int = 64,
        session_id: str | None = None,
        new_id: Callable[[], str] = new_id,
        durable: bool = False,
    ) -> None:
        self._durable = durable
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
            frame = decode_action(text, durable=self._durable)
        except FrameError as error:
            return Respond(ErrorFrame(error.code, error.message, error.invocation_id))
        if isinstance(frame, Invoke):
            return self._start(frame)
        if isinstance(frame, GetInvocation) and frame.last_event_id is not None:
            return self._start(Invoke({}, frame.invocation_id), frame.last_event_id)
        if isinstance(frame, frames.Query):
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

    def _start(self, frame: Invoke, after: int | None = None) -> Start | Respond:
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
        return Start(invocation, frame.payload, after, frame.idempotency_key)

    def _query(self, frame: frames.Query) -> Query | Respond:
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
