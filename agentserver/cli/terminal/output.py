"""What goes to the terminal: colours only where they are seen, JSON where a script reads."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any, TextIO

__all__ = ["note", "print_json", "print_text", "styled"]

_STYLES: Mapping[str, str] = {
    "dim": "2",
    "bold": "1",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "cyan": "36",
}


def styled(text: str, style: str, stream: TextIO) -> str:
    """Return *text* in *style* if *stream* shows colours (https://no-color.org, https://force-color.org)."""
    if os.environ.get("NO_COLOR"):
        return text
    if not os.environ.get("FORCE_COLOR") and (not stream.isatty() or os.environ.get("TERM") == "dumb"):
        return text
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


def note(text: str, style: str = "dim") -> None:
    """Say something beside the output, on standard error."""
    print(styled(text, style, sys.stderr), file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """Print *value* as one line of JSON."""
    print_text(json.dumps(value, ensure_ascii=False))


def print_text(text: str) -> None:
    """Print *text*, ending in a line break that it need not have itself.

    What the output cannot encode, such as half of a surrogate pair, is escaped as JSON and Python do.
    """
    encoding = sys.stdout.encoding or "utf-8"
    printable = text.encode(encoding, "backslashreplace").decode(encoding)
    print(printable, end="" if text.endswith("\n") else "\n", flush=True)
