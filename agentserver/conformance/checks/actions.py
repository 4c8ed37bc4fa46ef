"""Checks of the order of action frames."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from agentserver.conformance.checks.registry import check
from agentserver.conformance.observation import Observation


def _frames(seen: Observation) -> list[dict[str, Any]]:
    """The action frames that came, in order, as objects."""
    return [json.loads(frame["text"]) for frame in seen.last["frames"] if "text" in frame]


def _of(frames: list[dict[str, Any]], invocation_id: str) -> list[dict[str, Any]]:
    return [frame for frame in frames if frame.get("invocation_id") == invocation_id]


def _is_cancelled(frame: dict[str, Any]) -> bool:
    return bool(frame["type"] == "error" and frame["error"]["code"] == "cancelled")


@check("actions.cancel-running")
def _cancel_running(seen: Observation) -> str | None:
    frames = _of(_frames(seen), "inv-h")
    if sum(_is_cancelled(frame) for frame in frames) != 1:
        return f"expected one error frame cancelled for the invocation, got {frames}"
    return None


@check("actions.cancel-result")
def _cancel_result(seen: Observation) -> str | None:
    results = [frame for frame in _of(_frames(seen), "inv-h") if frame["type"] == "result"]
    if [frame.get("payload") for frame in results] != [{"status": "cancelled"}]:
        return f'expected one result {{"status": "cancelled"}} for the action, got {results}'
    return None


@check("actions.cancel-stream")
def _cancel_stream(seen: Observation) -> str | None:
    stream = [frame for frame in _of(_frames(seen), "inv-c") if frame["type"] != "result"]
    if not stream or not _is_cancelled(stream[-1]):
        return f"the last frame of the stream is {stream[-1:]}, expected an error cancelled"
    if any(frame["type"] != "stream_chunk" for frame in stream[:-1]):
        return "before the error cancelled came more than chunks"
    return None


@check("actions.no-exception-text")
def _no_exception_text(seen: Observation) -> str | None:
    told = [
        frame
        for frame in _frames(seen)
        if "secret" in json.dumps(frame) or "RuntimeError" in json.dumps(frame)
    ]
    return f"the client was told {told[0]}" if told else None


@check("actions.interleave")
def _interleave(seen: Observation) -> str | None:
    frames = _frames(seen)
    order = [frame["invocation_id"] for frame in frames]
    for name, chunk in (("s1", "a"), ("s2", "b")):
        kinds = [frame["type"] for frame in _of(frames, name)]
        if kinds != ["stream_chunk"] * 6 + ["stream_end"]:
            return f"the frames of {name} are {kinds}"
        if any(frame["payload"] != {"chunk": chunk} for frame in _of(frames, name)[:-1]):
            return f"a chunk of {name} is not its own"
    changes = sum(one != other for one, other in pairwise(order))
    return None if changes > 1 else f"the streams ran one after the other: {order}"
