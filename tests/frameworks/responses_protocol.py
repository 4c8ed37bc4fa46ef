"""The wire form of OpenAI's Responses API, as much of it as the frameworks read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

_USAGE = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 15,
}

ToolCall = tuple[str, str, str]
"""Id, name, arguments as JSON."""


def read_input(given: Any) -> tuple[list[str], list[str]]:
    """What the user has said, and what tools have given since."""
    said: list[str] = []
    outputs: list[str] = []
    items: list[dict[str, Any]] = [{"role": "user", "content": given}] if isinstance(given, str) else given
    for item in items:
        if item.get("role") == "user":
            content = item["content"]
            said.append(content if isinstance(content, str) else "".join(part["text"] for part in content))
            outputs = []
        elif item.get("type") == "function_call_output":
            outputs.append(str(item["output"]))
    return said, outputs


def whole(text: str, calls: Sequence[ToolCall], status: str = "completed") -> dict[str, Any]:
    """A response."""
    output = [_message(text)] if text else [_call(*call) for call in calls]
    return {
        "id": "resp-1",
        "object": "response",
        "created_at": 1,
        "model": "stand-in",
        "status": status,
        "output": output if status == "completed" else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": _USAGE if status == "completed" else None,
    }


def _message(text: str) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "output_text", "text": text, "annotations": []}]
    return {"id": "msg-1", "type": "message", "role": "assistant", "status": "completed", "content": content}


def _call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {
        "id": f"fc-{call_id}",
        "type": "function_call",
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
        "status": "completed",
    }


def events(pieces: Sequence[str], calls: Sequence[ToolCall], *, cut: bool) -> Iterator[dict[str, Any]]:
    """A response as a stream of events; without its end if *cut*."""
    for number, event in enumerate(_events(pieces, calls, cut=cut)):
        yield {**event, "sequence_number": number}


def _events(pieces: Sequence[str], calls: Sequence[ToolCall], *, cut: bool) -> Iterator[dict[str, Any]]:
    text = "".join(pieces)
    yield {"type": "response.created", "response": whole("", [], "in_progress")}
    if text:
        place = {"item_id": "msg-1", "output_index": 0, "content_index": 0}
        message: dict[str, Any] = {**_message(""), "content": [], "status": "in_progress"}
        part: dict[str, Any] = {"type": "output_text", "text": "", "annotations": []}
        yield {"type": "response.output_item.added", "output_index": 0, "item": message}
        yield {"type": "response.content_part.added", **place, "part": part}
        for piece in pieces:
            yield {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []}
        if cut:
            return
        yield {"type": "response.output_text.done", **place, "text": text, "logprobs": []}
        yield {"type": "response.content_part.done", **place, "part": {**part, "text": text}}
        yield {"type": "response.output_item.done", "output_index": 0, "item": _message(text)}
    for index, (call_id, name, arguments) in enumerate(calls):
        item = _call(call_id, name, arguments)
        place = {"item_id": item["id"], "output_index": index}
        begun = {**item, "arguments": "", "status": "in_progress"}
        yield {"type": "response.output_item.added", "output_index": index, "item": begun}
        yield {"type": "response.function_call_arguments.delta", **place, "delta": arguments}
        yield {
            "type": "response.function_call_arguments.done",
            **place,
            "name": name,
            "arguments": arguments,
        }
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": "response.completed", "response": whole(text, calls)}
