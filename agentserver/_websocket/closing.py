"""The opening and the closing handshake as a table of states, and the codes they end with. No I/O.

A connection is `OPEN` from the 101 to the first Close frame. Either end may send that one; the other
answers it, and only then has a code been exchanged (RFC 6455, sections 5.5.1 and 7.1):

.. code-block:: text

    OPENING ──ACCEPTED──▶ OPEN ◀──READ──┐
                           │ └──FULL──▶ PAUSED                 (whatever leaves OPEN leaves PAUSED too)
                           │
                           ├──CLOSE─────────────▶ CLOSING ───────────CLOSE_RECEIVED──▶ CLOSED
                           ├──CLOSE_RECEIVED────▶ ANSWERING ──DRAINED, CLOSE, TIMEOUT──▶ CLOSED
                           └──BROKEN────────────▶ FAILING ────DRAINED, CLOSE, TIMEOUT──▶ FAILED
                                                  CLOSING ──BROKEN────────────────────▶ FAILED
    any of them ──LOST──▶ GONE

Where the client closes or fails first, the handler may still read what came before, and reply to it: the
answer waits for that (`ANSWERING`, `FAILING`), but not longer than the close time-out. Each of the states
behind `OPEN` lasts at most so long; in those that wait for the client, a `TIMEOUT` aborts the transport.

The code that is reported is the one that was exchanged: the first Close's, ours or the client's; the error's
where the client broke the protocol; and 1006 where a connection ends without a Close of the client, whatever
was sent to it.

The table says what follows on an event, what the connection must do about it and where the code comes from.
An event that it does not list changes nothing: it came too late.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final, NamedTuple

from agentserver.wire import CloseCode

MAX_CONTROL_SIZE: Final = 125
MAX_REASON_SIZE: Final = MAX_CONTROL_SIZE - 2
# Codes that RFC 6455 (7.4.1) and the IANA registry let a peer send, besides 3000 to 4999.
_SENDABLE: Final = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015)})


class ProtocolError(Exception):
    """The client broke the protocol.

    Args:
        code: The close code to answer with.
        reason: What was wrong, for the close frame.
    """

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class State(Enum):
    """How far the handshakes have come."""

    OPENING = "opening"
    """The 101 has not gone out."""
    OPEN = "open"
    PAUSED = "paused"
    """Open, but the client is stopped: the handler does not read."""
    ANSWERING = "answering"
    """The client's Close has come; it is answered once the handler has read what came before."""
    FAILING = "failing"
    """The client broke the protocol; it is told once the handler has read what came before."""
    CLOSING = "closing"
    """Our Close has gone out, the client's is awaited; what else comes is dropped."""
    CLOSED = "closed"
    """A Close has gone each way; the transport sends what it has and ends."""
    FAILED = "failed"
    """Nothing more is said, and nothing heard; the end of the client's stream is awaited."""
    GONE = "gone"
    """The transport is no more."""


OPEN_STATES: Final = (State.OPEN, State.PAUSED)
SENDING_STATES: Final = (*OPEN_STATES, State.ANSWERING, State.FAILING)


class Event(Enum):
    """What happens to a connection."""

    ACCEPTED = "the 101 has gone out"
    FULL = "enough waits for the handler"
    READ = "the handler has read much of it"
    CLOSE = "this end wants to close"
    CLOSE_RECEIVED = "the client's Close has come"
    BROKEN = "the client broke the protocol"
    DRAINED = "the handler has read all that came before the end"
    TIMEOUT = "the close time-out has passed in one state"
    LOST = "the transport is gone"


class Effect(Enum):
    """What the connection must do."""

    STOP_READING = "stop reading"
    GO_ON_READING = "go on reading"
    SEND_CLOSE = "send the close frame"
    CLOSE_TRANSPORT = "end the transport when all is sent"
    END_STREAM = "end our half of the stream: closing with data unread would reset it, and the code be lost"
    ABORT = "end the transport at once"


class Code(Enum):
    """Where the code that is reported comes from."""

    KEPT = "it stays"
    GIVEN = "the event's"
    ABNORMAL = "1006"


class Transition(NamedTuple):
    """What follows on an event."""

    state: State
    effects: tuple[Effect, ...] = ()
    code: Code = Code.KEPT


def _table() -> dict[tuple[State, Event], Transition]:
    table = {
        (State.OPENING, Event.ACCEPTED): Transition(State.OPEN),
        (State.OPEN, Event.FULL): Transition(State.PAUSED, (Effect.STOP_READING,)),
        (State.PAUSED, Event.READ): Transition(State.OPEN, (Effect.GO_ON_READING,)),
        (State.OPEN, Event.CLOSE): Transition(State.CLOSING, (Effect.SEND_CLOSE,), Code.GIVEN),
        (State.PAUSED, Event.CLOSE): Transition(
            State.CLOSING, (Effect.SEND_CLOSE, Effect.GO_ON_READING), Code.GIVEN
        ),
        (State.CLOSING, Event.CLOSE_RECEIVED): Transition(State.CLOSED, (Effect.CLOSE_TRANSPORT,)),
        (State.CLOSING, Event.BROKEN): Transition(State.FAILED, (Effect.END_STREAM,), Code.ABNORMAL),
        (State.CLOSED, Event.TIMEOUT): Transition(State.CLOSED, (Effect.ABORT,)),
        (State.CLOSING, Event.TIMEOUT): Transition(State.CLOSING, (Effect.ABORT,), Code.ABNORMAL),
        (State.FAILED, Event.TIMEOUT): Transition(State.FAILED, (Effect.ABORT,)),
    }
    for state in OPEN_STATES:
        table[state, Event.CLOSE_RECEIVED] = Transition(State.ANSWERING, (), Code.GIVEN)
        table[state, Event.BROKEN] = Transition(State.FAILING, (), Code.GIVEN)
    for event in (Event.DRAINED, Event.CLOSE, Event.TIMEOUT):
        table[State.ANSWERING, event] = Transition(State.CLOSED, (Effect.SEND_CLOSE, Effect.CLOSE_TRANSPORT))
        table[State.FAILING, event] = Transition(State.FAILED, (Effect.SEND_CLOSE, Effect.END_STREAM))
    for state in State:
        if state is not State.GONE:
            agreed = state in (State.ANSWERING, State.FAILING, State.CLOSED, State.FAILED)
            table[state, Event.LOST] = Transition(State.GONE, (), Code.KEPT if agreed else Code.ABNORMAL)
    return table


TRANSITIONS: Final[Mapping[tuple[State, Event], Transition]] = _table()


class Handshakes:
    """Where one connection stands in the table.

    Attributes:
        state: How far it has come.
        code: The code to report; ``None`` while it is open.
        payload: Of the close frame to send when the table says so.
    """

    __slots__ = ("code", "payload", "state")

    def __init__(self) -> None:
        self.state = State.OPENING
        self.code: int | None = None
        self.payload = b""

    def on(self, event: Event, code: int | None = None, payload: bytes = b"") -> tuple[Effect, ...]:
        """Take note of *event*, and say what must be done about it.

        Args:
            event: What happened.
            code: The code that goes with it, where it begins the end.
            payload: Of the close frame that says or answers it.
        """
        transition = TRANSITIONS.get((self.state, event))
        if transition is None:
            return ()
        self.state = transition.state
        if transition.code is Code.GIVEN:
            self.code, self.payload = code, payload
        elif transition.code is Code.ABNORMAL:
            self.code = CloseCode.ABNORMAL
        return transition.effects


def close_payload(code: object, reason: object) -> bytes:
    """The payload of a close frame.

    Raises:
        TypeError: If *code* is no int, or *reason* neither str nor bytes.
        ValueError: If *code* may not be sent, or *reason* is too long or no UTF-8.
    """
    if not isinstance(code, int):
        raise TypeError(f"a close code is an int, not {type(code).__name__}")
    if not _may_be_sent(code):
        raise ValueError(f"{int(code)} is no close code to send: use 1000 or one from 3000 to 4999")
    if not isinstance(reason, bytes | str):
        raise TypeError(f"the reason of a close is str or bytes, not {type(reason).__name__}")
    try:
        data = reason.encode() if isinstance(reason, str) else reason
        data.decode()
    except UnicodeError:
        raise ValueError("the reason of a close must be UTF-8") from None
    if len(data) > MAX_REASON_SIZE:
        raise ValueError(f"the reason of a close has {len(data)} bytes, but at most 123 fit")
    return code.to_bytes(2, "big") + data


def read_close(payload: bytes) -> tuple[int, str]:
    """The code and reason of a client's close frame; ``NO_STATUS`` if it has none.

    Raises:
        ProtocolError: If the payload is malformed.
    """
    if not payload:
        return CloseCode.NO_STATUS, ""
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not _may_be_sent(code):
        raise ProtocolError(CloseCode.PROTOCOL_ERROR, "a close frame must have a valid code")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise ProtocolError(CloseCode.INVALID_PAYLOAD, "not valid UTF-8") from None


def _may_be_sent(code: int) -> bool:
    return code in _SENDABLE or 3000 <= code <= 4999
