"""The way of a request: the parts of the code that it passes, and what each of them may answer instead."""

from __future__ import annotations

from typing import Final, NamedTuple

from agentserver._http import pipeline
from agentserver._http.concurrency_limit import ConcurrencyLimiter
from agentserver._http.connection import _MALFORMED, HostConnection
from agentserver._http.outcome import Outcome
from agentserver._http.pipeline import CLIENT_CLOSED_REQUEST, Pipeline
from agentserver._http.router import RouteTable
from agentserver._http.sending import send, stamp
from agentserver.errors import (
    BadRequestError,
    Failure,
    PayloadTooLargeError,
    TooManyRequestsError,
    classify,
)
from agentserver.invocations.handler import InvocationHandler
from documentation.pictures.drawing import Arrow, Box, Picture


class _Step(NamedTuple):
    """A step of the way.

    Args:
        label: What happens.
        part: The code that does it.
        otherwise: What is answered instead, and when.
    """

    label: str
    part: str
    otherwise: tuple[tuple[str, str], ...] = ()


def _told(failure: Failure) -> str:
    return f"{failure.status} {failure.code}"


_OTHER_ERROR: Final = classify(RuntimeError("a mistake in the handler"))
_STEPS: Final = (
    _Step("read from the connection", HostConnection.__name__, (("it is no HTTP/1.1", _told(_MALFORMED)),)),
    _Step("ids, trace, clean context", Pipeline.begin.__qualname__),
    _Step(
        "find the endpoint",
        RouteTable.match.__qualname__,
        (
            ("unknown path", _told(pipeline._NOT_FOUND)),
            ("wrong method", _told(pipeline._method_not_allowed("PUT", "POST"))),
            ("too large a body", _told(classify(PayloadTooLargeError(1)))),
        ),
    ),
    _Step(
        "a place, and the services",
        ConcurrencyLimiter.__name__,
        (
            ("the session has no place", _told(classify(TooManyRequestsError()))),
            ("nor has the server", "503 unavailable"),
        ),
    ),
    _Step(
        "your handler",
        InvocationHandler.handle.__qualname__,
        (
            ("BadRequestError", _told(classify(BadRequestError()))),
            ("any other exception", _told(_OTHER_ERROR)),
            ("the client leaves", f"cancelled; the log says {CLIENT_CLOSED_REQUEST}"),
        ),
    ),
    _Step("a response, and services end", f"{Outcome.__name__}({', '.join(Outcome._fields)})"),
    _Step("headers of the contract", stamp.__name__),
    _Step("bytes", send.__name__, (("it fails after the first byte", "the connection is cut"),)),
    _Step("a line in the log, the span", Pipeline.end.__qualname__),
)


def picture() -> Picture:
    """Draw it."""
    boxes: dict[str, Box] = {}
    arrows: list[Arrow] = []
    row = 0.0
    before = ""
    for step in _STEPS:
        height = max(1, len(step.otherwise))
        row += 0.1 + 0.4 * height if height > 1 else 0.5
        boxes[step.part] = Box(
            step.label, 0, row, detail=step.part, kind="own" if step.label == "your handler" else "state"
        )
        if before:
            arrows.append(Arrow(before, step.part))
        before = step.part
        for number, (when, answer) in enumerate(step.otherwise):
            key = f"{step.part} {number}"
            boxes[key] = Box(answer, 2, row + 0.75 * (number - (height - 1) / 2), kind="failure")
            arrows.append(Arrow(step.part, key, when, at=0.52, kind="failure"))
        row += 0.1 + 0.4 * height if height > 1 else 0.5
    return Picture(
        title="The way of a request",
        description=(
            "From the connection by way of ids, routing, a place and its services to the handler, whose"
            " response gets its headers, goes out and is logged; beside each step, what is answered instead."
        ),
        boxes=boxes,
        arrows=arrows,
        words=[
            f"{step.label.capitalize()} ({step.part})"
            + "".join(f"; {when}: {answer}" for when, answer in step.otherwise)
            + "."
            for step in _STEPS
        ],
        column_width=230,
        row_height=74,
    )
