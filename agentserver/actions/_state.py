"""Which frame may follow which (contract, section 6), for the server's end and for the client's. No I/O.

One table says how an invocation goes on; the server's end (``_server_protocol``) is held to it before a frame
goes out, the client's end (``_client_protocol``) when one comes in:

.. code-block:: text

    waiting ──result─────────────────────────▶ ended
       │ ├───stream_end, error────────────────▶ ended
       │ └───chunk──▶ streaming ──end, error──▶ ended
       └──cancel──▶ cancelling ◀──cancel── streaming        (the server's end only)
                        └──whatever ends it goes out as the error "cancelled"──▶ ended
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from agentserver.actions.frames import ErrorFrame, InvocationFrame, Pong, Result, StreamChunk, StreamEnd

__all__ = ["OrderError", "Phase", "Respond", "new_id", "next_phase"]


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


def next_phase(phase: Phase, kind: type[InvocationFrame]) -> Phase:
    """The phase after a frame of *kind*.

    Raises:
        OrderError: If it may not come in *phase*.
    """
    following = _NEXT.get((phase, kind))
    if following is None:
        raise OrderError(f"{kind.__name__} may not follow when the invocation is {phase.value}")
    return following


def new_id() -> str:
    """A new id for an invocation or a session."""
    return str(uuid.uuid4())


@dataclass(frozen=True)
class Respond:
    """This end must send *frame*; nothing else is to be done."""

    frame: ErrorFrame | Pong
