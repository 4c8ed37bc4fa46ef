"""How an invocation on the action protocol goes on, from the table that both ends are held to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from agentserver.actions._state import _NEXT, Phase
from agentserver.actions.frames import ErrorFrame, InvocationFrame, Result, StreamChunk, StreamEnd
from documentation.pictures.drawing import Arrow, Box, Picture

_PLACES: Final[Mapping[Phase, tuple[float, float]]] = {
    Phase.WAITING: (1, 0),
    Phase.STREAMING: (0, 1.2),
    Phase.CANCELLING: (2, 1.2),
    Phase.ENDED: (1, 2.4),
}
_FRAMES: Final[Mapping[type[InvocationFrame], str]] = {
    Result: "result",
    StreamChunk: "stream_chunk",
    StreamEnd: "stream_end",
    ErrorFrame: "error",
}


def picture() -> Picture:
    """Draw it."""
    boxes = {
        phase.name: Box(phase.value, column, row, kind="end" if phase is Phase.ENDED else "state")
        for phase, (column, row) in _PLACES.items()
    }
    return Picture(
        title="The states of an invocation on the action protocol",
        description=(
            "It waits, streams from its first chunk on, and ends with a result, the end of the stream or an"
            " error; once it is cancelled, whatever ends it goes out as the error cancelled."
        ),
        boxes=boxes,
        arrows=[
            *_arrows(),
            Arrow("WAITING", "CANCELLING", "cancel_invocation", kind="failure"),
            Arrow("STREAMING", "CANCELLING", "cancel_invocation", at=0.25, kind="failure"),
        ],
        words=[
            *(
                f"When it is {phase.value}, a frame {_FRAMES[kind]} may follow; it is {following.value} then."
                for (phase, kind), following in _NEXT.items()
            ),
            "When it is waiting or streaming, a cancel_invocation makes it cancelling.",
        ],
    )


def _arrows() -> Iterator[Arrow]:
    frames: dict[tuple[Phase, Phase], list[str]] = {}
    for (phase, kind), following in _NEXT.items():
        frames.setdefault((phase, following), []).append(_FRAMES[kind])
    for (phase, following), names in frames.items():
        if phase is Phase.CANCELLING:  # what the server's end makes of each of them
            if following is Phase.ENDED:
                yield Arrow(phase.name, following.name, "error: cancelled", kind="failure")
        else:
            is_long = (phase, following) == (Phase.WAITING, Phase.ENDED)
            yield Arrow(phase.name, following.name, ",\n".join(names), at=0.3 if is_long else 0.5)
