"""The states of a durable run: found by trying each operation of a store on a run in each state."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from agentserver.durable._engine import DisplacedError
from agentserver.durable._memory import MemoryEngine
from agentserver.durable._records import Changes, End, NewRun, Status
from documentation.pictures.drawing import Arrow, Box, Picture

_BEGIN: Final = "asked for"
_FORGOTTEN: Final = "forgotten"
_CANCELLING: Final = "cancelling"
_PLACES: Final[Mapping[str, tuple[float, float]]] = {
    _BEGIN: (1, 0),
    Status.QUEUED.value: (0, 1.1),
    Status.IN_PROGRESS.value: (1, 2.2),
    _CANCELLING: (2, 3.3),
    Status.COMPLETED.value: (0, 4.4),
    Status.FAILED.value: (1, 4.4),
    Status.CANCELLED.value: (2, 4.4),
    _FORGOTTEN: (1, 5.5),
}
_RUN: Final = NewRun("run", "session", "", None, "", "Handler", "{}", "{}", 0.0)

_Operation = Callable[[MemoryEngine], Awaitable[Any]]


def _ending(status: Status) -> _Operation:
    async def end(engine: MemoryEngine) -> None:
        run = await engine.get("run")
        assert run is not None
        await engine.write("run", run.epoch, Changes(1.0, [], [], end=End(status, None, None, 2.0, 2.0)))

    return end


# What happens to a run, in words; and what the store is asked then.
_OPERATIONS: Final[Mapping[str, _Operation]] = {
    "its turn comes": lambda engine: engine.claim("run", 1.0),
    "cancel": lambda engine: engine.cancel("run", 1.0),
    "run returns": _ending(Status.COMPLETED),
    "run raises": _ending(Status.FAILED),
    "it has cleaned up": _ending(Status.CANCELLED),
    "keep has passed": lambda engine: engine.purge(3.0, 10),
}
# Ways that lead to each state.
_WAYS: Final[Mapping[str, tuple[Status, tuple[str, ...]]]] = {
    Status.QUEUED.value: (Status.QUEUED, ()),
    Status.IN_PROGRESS.value: (Status.IN_PROGRESS, ("its turn comes",)),
    _CANCELLING: (Status.IN_PROGRESS, ("its turn comes", "cancel")),
    Status.COMPLETED.value: (Status.IN_PROGRESS, ("its turn comes", "run returns")),
    Status.FAILED.value: (Status.IN_PROGRESS, ("its turn comes", "run raises")),
    Status.CANCELLED.value: (Status.IN_PROGRESS, ("its turn comes", "cancel", "it has cleaned up")),
}


async def _after(admitted: Status, operations: tuple[str, ...]) -> str | None:
    """The state of a run that was *admitted* so, after *operations*; ``None`` if the last is refused."""
    engine = MemoryEngine()
    await engine.create(_RUN, lambda _running, _waiting: admitted)
    for operation in operations:
        try:
            await _OPERATIONS[operation](engine)
        except DisplacedError:
            return None
    run = await engine.get("run")
    return _FORGOTTEN if run is None else run.state


async def _transitions() -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for state, (admitted, way) in _WAYS.items():
        reached = await _after(admitted, way)
        assert reached == state, f"the way to {state} leads to {reached}"
        for operation in _OPERATIONS:
            following = await _after(admitted, (*way, operation))
            if following is not None and following != state:
                found[state, operation] = following
    return found


def transitions() -> Mapping[tuple[str, str], str]:
    """What follows when something happens to a run in a state; what changes nothing is left out."""
    found = asyncio.run(_transitions())
    # A cancelled run ends so, whatever it returns or raises: the attempt sees to that, not the store.
    return {key: following for key, following in found.items() if not _is_overruled(*key)}


def _is_overruled(state: str, operation: str) -> bool:
    if state == _CANCELLING:
        return operation in {"run returns", "run raises"}
    return state == Status.IN_PROGRESS.value and operation == "it has cleaned up"


def picture() -> Picture:
    """Draw it."""
    found = transitions()
    terminal = {status.value for status in Status if status.is_terminal}
    boxes = {
        state: Box(state, column, row, kind="end" if state in terminal or state == _FORGOTTEN else "state")
        for state, (column, row) in _PLACES.items()
    }
    boxes[_BEGIN] = Box("POST", 1, 0, kind="note")
    arrows = [
        Arrow(state, following, operation, kind="failure" if following == Status.FAILED.value else "usual")
        for (state, operation), following in found.items()
    ]
    arrows += [
        Arrow(_BEGIN, Status.QUEUED.value, "the session is busy"),
        Arrow(_BEGIN, Status.IN_PROGRESS.value, "at once"),
    ]
    return Picture(
        title="The states of a durable run",
        description=(
            "A run is queued or in progress at once; it is completed, failed or, by way of cancelling,"
            " cancelled; and forgotten when the time to keep it has passed."
        ),
        boxes=boxes,
        arrows=arrows,
        words=[
            *(
                f"When it is {state} and {operation}: it is {following}."
                for (state, operation), following in found.items()
            ),
            "A queued run that is cancelled is begun and cancelled at once.",
            "A process that ends leaves a run in its state; the next one goes on with it: it is recovered.",
        ],
        row_height=80,
    )
