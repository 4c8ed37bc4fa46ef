"""An agent's answer as a person or a script reads it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from agentserver.cli.terminal.output import print_json, print_text, styled

if TYPE_CHECKING:
    from agentserver.client import Answer, StreamEvent

__all__ = ["json_or_text", "print_answer", "print_event"]


def print_answer(answer: Answer, *, as_json: bool) -> None:
    """Print *answer*: its body, or all of it as one JSON object."""
    if as_json:
        print_json(
            {
                "status": answer.status,
                "invocation_id": answer.invocation_id,
                "session_id": answer.session_id,
                "request_id": answer.request_id,
                "content_type": answer.content_type,
                "body": json_or_text(answer.text),
            }
        )
    elif answer.content_type == "application/json" and sys.stdout.isatty():
        print_text(json.dumps(answer.json(), indent=2, ensure_ascii=False))
    else:
        print_text(answer.text)


def json_or_text(text: str) -> Any:
    """What *text* is as JSON, else *text* itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def print_event(event: StreamEvent, *, as_json: bool) -> None:
    """Print *event*: its data behind its name, or all of it as one JSON object."""
    if as_json:
        print_json({"event": event.event, "id": event.id, "data": json_or_text(event.data)})
    else:
        label = "" if event.event == "message" else styled(f"{event.event}: ", "cyan", sys.stdout)
        print_text(label + event.data)
