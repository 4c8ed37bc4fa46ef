"""The states of a WebSocket, from the table of its handshakes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from agentserver._websocket.closing import OPEN_STATES, TRANSITIONS, Code, Event, State
from documentation.pictures.drawing import Arrow, Box, Frame, Picture

_PLACES: Final[Mapping[State, tuple[float, float]]] = {
    State.OPENING: (0.3, 0),
    State.OPEN: (0.3, 1.05),
    State.PAUSED: (1.7, 1.05),
    State.ANSWERING: (0, 2.35),
    State.CLOSING: (1, 2.35),
    State.FAILING: (2, 2.35),
    State.CLOSED: (0, 3.6),
    State.FAILED: (2, 3.6),
    State.GONE: (1, 4.7),
}
_LAST: Final = (State.CLOSED, State.FAILED)
_ANY: Final = "any"


def picture() -> Picture:
    """Draw it."""
    boxes = {
        state.name: Box(state.value, column, row, kind="end" if state is State.GONE else "state")
        for state, (column, row) in _PLACES.items()
    }
    boxes[_ANY] = Box("any of these", 1, 3.6, kind="note")
    return Picture(
        title="The states of a WebSocket",
        description=(
            "From opening to open and paused; from there by a Close of the client to answering, by a Close of"
            " this end to closing, by a breach of the protocol to failing; then closed or failed, and gone."
        ),
        boxes=boxes,
        arrows=[*_arrows(), Arrow(_ANY, State.GONE.name, _name(Event.LOST))],
        frames={"open": Frame(tuple(state.name for state in OPEN_STATES))},
        words=[*_words()],
        row_height=95,
    )


def _name(event: Event) -> str:
    return event.name.lower().replace("_", " ")


def _arrows() -> Iterator[Arrow]:
    events: dict[tuple[str, str], list[str]] = {}
    for (state, event), (target, _effects, _code) in TRANSITIONS.items():
        if event is Event.LOST or target is state:
            continue  # the one is drawn once for all, the other leads nowhere
        alike = all(
            (one, event) in TRANSITIONS and TRANSITIONS[one, event].state is target for one in OPEN_STATES
        )
        source = "open" if state in OPEN_STATES and alike else state.name
        names = events.setdefault((source, target.name), [])
        if _name(event) not in names:
            names.append(_name(event))
    for (source, following), names in events.items():
        yield Arrow(source, following, ",\n".join(names) if len(names) > 1 else names[0])


def _words() -> Iterator[str]:
    for event in Event:
        yield f"“{_name(event)}” is: {event.value}."
    for (state, event), (target, effects, code) in TRANSITIONS.items():
        done = "".join(f"; {effect.value}" for effect in effects)
        reported = "" if code is Code.KEPT else f"; the code that is reported is {code.value}"
        follows = "it stays" if target is state else f"it is {target.value}"
        yield f"When it is {state.value}, on “{_name(event)}”: {follows}{done}{reported}."
