"""The words that wrong servers are described with."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from tests.conformance.wrong_server import Frame, FrameChange, Head, Wrong

When = Callable[[Head], bool]

TEXT, CLOSE, PING, PONG = 0x81, 0x88, 0x89, 0x8A


def always(_: Head) -> bool:
    return True


def answering(pattern: str, *statuses: int) -> When:
    """Answers to requests ``METHOD PATH`` that *pattern* matches, with one of these statuses if any."""
    expression = re.compile(pattern)

    def when(head: Head) -> bool:
        asked = f"{head.method} {head.path}"
        return bool(expression.fullmatch(asked)) and (not statuses or head.status in statuses)

    return when


def failed(head: Head) -> bool:
    return head.status >= 400


# --- heads


def status(code: int, when: When = always) -> Wrong:
    """Another status."""

    def change(head: Head) -> None:
        if when(head):
            head.status = code

    return Wrong(head=change)


def instead(of: int, code: int) -> Wrong:
    """One status for another."""
    return status(code, lambda head: head.status == of)


def without(header: str, when: When = always) -> Wrong:
    """A header missing."""

    def change(head: Head) -> None:
        if when(head):
            head.drop(header)

    return Wrong(head=change)


def saying(header: str, value: str, when: When = always) -> Wrong:
    """A header with another value."""

    def change(head: Head) -> None:
        if when(head):
            head.put(header, value)

    return Wrong(head=change)


def only_where_there(header: str, value: str) -> Wrong:
    """Another value of a header where it is there."""
    return saying(header, value, lambda head: bool(head.get(header)))


# --- requests


def deaf_to(header: str) -> Wrong:
    """A request header that does not arrive."""
    line = re.compile(rb"^" + header.encode() + rb":[^\r]*\r\n", re.IGNORECASE | re.MULTILINE)
    return Wrong(request=lambda head: line.sub(b"", head))


def reading(pattern: bytes, replacement: bytes) -> Wrong:
    """A request that is read as another one."""
    return Wrong(request=lambda head: re.sub(pattern, replacement, head))


# --- bodies


def body(change: Callable[[bytes], bytes], when: When = always) -> Wrong:
    """Another body."""
    return Wrong(body=lambda head, data: change(data) if when(head) else data)


def _on_json(data: bytes, change: Callable[[Any], Any]) -> bytes:
    try:
        document = json.loads(data)
    except ValueError:
        return data
    return json.dumps(change(document)).encode()


def json_body(change: Callable[[Any], Any], when: When = always) -> Wrong:
    """Another JSON document."""
    return body(lambda data: _on_json(data, change), when)


def field(name: str, value: Any) -> Wrong:
    """Another value of one member."""
    return json_body(lambda document: {**document, name: value} if name in document else document)


# --- frames


def frames(change: FrameChange) -> Wrong:
    """Other frames."""
    return Wrong(conversation=lambda: change)


def closing(code: int, reason: str = "") -> Wrong:
    """Another close code."""
    payload = code.to_bytes(2, "big") + reason.encode()
    return frames(lambda frame: [Frame(CLOSE, payload)] if frame.opcode == 8 else [frame])


def no_close() -> Wrong:
    """No close frame: the connection just ends."""

    def swap(frame: Frame) -> list[Frame]:
        if frame.opcode == 8:
            raise ConnectionAbortedError
        return [frame]

    return frames(swap)


def no_pong() -> Wrong:
    """A client's Ping is not answered; the answer that comes for it is empty."""
    return frames(lambda frame: [Frame(PONG, b"")] if frame.opcode == 10 else [frame])


def pong_instead_of_ping() -> Wrong:
    """Pongs that nobody asked for in the place of Pings."""
    return frames(lambda frame: [Frame(PONG, frame.payload)] if frame.opcode == 9 else [frame])


def message(change: Callable[[bytes], bytes]) -> Wrong:
    """Other payloads of messages."""
    return frames(lambda frame: [Frame(frame.first, change(frame.payload))] if frame.opcode < 8 else [frame])


def action(change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> Wrong:
    """Other action frames; ``None`` sends nothing."""

    def swap(frame: Frame) -> list[Frame]:
        if frame.opcode != 1:
            return [frame]
        changed = change(json.loads(frame.payload))
        return [] if changed is None else [Frame(frame.first, json.dumps(changed).encode())]

    return frames(swap)


def action_field(name: str, value: Any, kind: str | None = None) -> Wrong:
    """Another member of the action frames of one type."""
    return action(
        lambda frame: {**frame, name: value} if kind in (None, frame["type"]) and name in frame else frame
    )


def action_without(name: str, kind: str) -> Wrong:
    """Action frames of one type without a member."""
    return action(
        lambda frame: {k: v for k, v in frame.items() if k != name} if frame["type"] == kind else frame
    )


def error_code(code: str) -> Wrong:
    """Another code in every error frame."""
    return action(
        lambda frame: {**frame, "error": {**frame["error"], "code": code}} if "error" in frame else frame
    )


def held_back(held: bytes, *until: bytes) -> Wrong:
    """Frames that contain *held* come only after one that contains all of *until*."""

    def conversation() -> FrameChange:
        waiting: list[Frame] = []
        passed = False

        def swap(frame: Frame) -> list[Frame]:
            nonlocal passed
            if not passed and held in frame.payload:
                waiting.append(frame)
                return []
            released = [] if passed else waiting
            passed = passed or all(text in frame.payload for text in until)
            return [frame, *released] if passed else [frame]

        return swap

    return Wrong(conversation=conversation)


# --- what is printed


def printing(text: str) -> Wrong:
    """Something more at the end of the log."""
    return Wrong(output=lambda printed: printed + text)


def log(pattern: str, replacement: str) -> Wrong:
    """Other words in the log."""
    expression = re.compile(pattern)
    return Wrong(output=lambda printed: expression.sub(replacement, printed))


def twice(pattern: str) -> Wrong:
    """Lines that are logged twice."""
    expression = re.compile(rf"^.*{pattern}.*\n", re.MULTILINE)
    return Wrong(output=lambda printed: expression.sub(lambda line: line.group() * 2, printed))
