"""Typing into a console, and reading what a script reads."""

from __future__ import annotations

import json
from typing import Any

from tests.cli.process import Outcome
from tests.cli.pseudo_terminal import Terminal

__all__ = ["enter", "events", "ready"]


def events(done: Outcome) -> list[dict[str, Any]]:
    """What happened, of the output of ``--json``."""
    return [json.loads(line) for line in done.out.splitlines()]


async def enter(screen: Terminal, line: str, shown: str) -> None:
    """Type *line*, and wait for what it leads to and for the next prompt."""
    screen.type(line + "\r")
    await screen.until(shown)
    await screen.until(">")


async def ready(screen: Terminal) -> None:
    """Wait until the line can be typed."""
    await screen.until("connected")
    await screen.until(">")
