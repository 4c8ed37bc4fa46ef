"""What a connection waits for, and what becomes of one that waits too long: found by asking the deadlines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from agentserver._http.deadlines import Action, ClientDeadlines, Progress, Waiting
from agentserver.options import AgentHostOptions
from documentation.pictures.drawing import Arrow, Box, Picture


class _State(NamedTuple):
    """A state of a connection.

    Args:
        place: Column and row.
        detail: Who is waited for.
        progress: What the look at a connection sees of it that has been in the state for ever.
    """

    place: tuple[float, float]
    detail: str
    progress: Progress


_STATES: Final[Mapping[str, _State]] = {
    "idle": _State((0, 0), "for a request", Progress(idle_since=0.0)),
    "reading the headers": _State((0, 1.2), "for the rest of them", Progress(idle_since=0.0, head_since=0.0)),
    "serving": _State((0, 2.4), "for the handler", Progress(idle_since=None)),
    "reading the body": _State(
        (1.45, 2.4), "for more of it", Progress(None, awaits_body=True, before=Waiting(quiet_since=0.0))
    ),
    "sending": _State(
        (0, 4.2),
        "for the client to read",
        Progress(None, unsent=1, before=Waiting(unsent=1, unread_since=0.0)),
    ),
}
# What goes on as it should.
_USUAL: Final = (
    Arrow("idle", "reading the headers", "the first byte"),
    Arrow("reading the headers", "serving", "the last header"),
    Arrow("serving", "reading the body", "the handler reads"),
    Arrow("reading the body", "serving", "the next bytes"),
    Arrow("serving", "sending", "the answer"),
    Arrow("sending", "idle", "all is sent,\nand it is kept", by=((-0.75, 4.2), (-0.75, 0))),
)
_OUTCOMES: Final[Mapping[Action, str]] = {
    Action.CLOSE: "closed without a word",
    Action.REFUSE_HEAD: "408, closed",
    Action.FAIL_BODY: "408 for the handler",
    Action.CUT_OFF: "cut off",
}
_LATE: Final = 1e9
# The options with each of the time-outs off. Without keep-alive an idle connection has the time-out of the
# headers, so that of keep-alive is moved out of reach instead.
_WITHOUT: Final[Mapping[str, AgentHostOptions]] = {
    "keepalive_timeout": AgentHostOptions(keepalive_timeout=2 * _LATE),
    "header_timeout": AgentHostOptions(header_timeout=0),
    "body_timeout": AgentHostOptions(body_timeout=0),
    "write_timeout": AgentHostOptions(write_timeout=0),
}


def timeouts() -> Mapping[str, tuple[str, Action]]:
    """The option that ends a connection in each state, and how; a state without one waits for ever."""
    found: dict[str, tuple[str, Action]] = {}
    for name, state in _STATES.items():
        action = _judged(AgentHostOptions(), state.progress)
        if action is Action.NOTHING:
            continue
        governs = [
            name for name, without in _WITHOUT.items() if _judged(without, state.progress) is not action
        ]
        found[name] = (governs[0], action)
    return found


def _judged(options: AgentHostOptions, progress: Progress) -> Action:
    return ClientDeadlines(options).check(_LATE, progress).action


def picture() -> Picture:
    """Draw it."""
    ended = timeouts()
    boxes = {name: Box(name, *state.place, detail=f"waits {state.detail}") for name, state in _STATES.items()}
    for name, (_option, action) in ended.items():
        column, row = _STATES[name].place
        below = 0.9 if column else 0.0
        boxes[action.name] = Box(_OUTCOMES[action], 1.45, row + below, kind="failure")
    return Picture(
        title="The states of a connection",
        description=(
            "A connection is idle, reads the headers of a request, serves it, reads its body, sends the"
            " answer and is idle again; an option says how long it waits for the client in each state."
        ),
        boxes=boxes,
        arrows=[*_USUAL, *_late(ended)],
        words=[*_words(ended)],
        column_width=230,
        row_height=82,
    )


def _late(ended: Mapping[str, tuple[str, Action]]) -> Iterator[Arrow]:
    for name, (option, action) in ended.items():
        yield Arrow(name, action.name, option, kind="failure")


def _words(ended: Mapping[str, tuple[str, Action]]) -> Iterator[str]:
    for name, state in _STATES.items():
        if name in ended:
            option, action = ended[name]
            waits = f"{name.capitalize()}: it waits {state.detail}, {option} seconds"
            yield f"{waits}; then it is {_OUTCOMES[action]}."
        else:
            yield f"{name.capitalize()}: it waits {state.detail}, as long as that takes."
