"""What a WebSocket console shows: to a person, to a pipe, or as JSON lines to a script."""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import dataclass
from typing import Any, Final

from agentserver.cli.terminal.output import note, print_json, print_text, styled

__all__ = ["Screen"]

_SHOWN_BYTES: Final = 16


@dataclass(frozen=True)
class Screen:
    """What happens is shown once, in one of three ways.

    Args:
        as_json: One JSON object a line for everything that happens.
        interactive: Whether a person looks on.
    """

    as_json: bool
    interactive: bool

    def message(self, data: str | bytes) -> None:
        """Show a message of the agent."""
        if self.as_json:
            print_json(_as_json(data))
        elif isinstance(data, bytes):
            self._received(_described(data))
        else:
            self._received(data)

    def payload(self, label: str, invocation_id: str, payload: Any) -> None:
        """Show what an invocation answered."""
        if self.as_json:
            print_json({"type": "payload", "invocation_id": invocation_id, "payload": payload})
            return
        text = json.dumps(payload, ensure_ascii=False)
        self._received(f"{label} {text}" if self.interactive else text)

    def event(self, kind: str, words: str, style: str = "dim", **fields: Any) -> None:
        """Show something beside the messages: *words* to a person, *fields* to a script."""
        if self.as_json:
            print_json({"type": kind, **fields})
        elif self.interactive:
            note(words, style)

    def reconnected(self, session_id: str | None) -> None:
        """Say that a connection which broke has been followed by another."""
        words = f"connected again, session {session_id}"
        self.event("reconnect", words, "yellow", session_id=session_id)

    def error(self, words: str) -> None:
        """Say what was wrong with a line."""
        note(words, "red")

    def _received(self, text: str) -> None:
        if not self.interactive:
            print_text(text)
            return
        # An agent's words are shown, never obeyed: no escape sequence reaches the terminal.
        seen = "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
        print_text(styled("< ", "cyan", sys.stdout) + seen)


def _as_json(data: str | bytes) -> dict[str, str]:
    if isinstance(data, bytes):
        return {"type": "binary", "data": base64.b64encode(data).decode()}
    return {"type": "text", "data": data}


def _described(data: bytes) -> str:
    more = " ..." if len(data) > _SHOWN_BYTES else ""
    return f"({len(data)} bytes: {data[:_SHOWN_BYTES].hex(' ')}{more})"
