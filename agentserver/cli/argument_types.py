"""What the text of an argument must be; the sentence of an error says what to write."""

from __future__ import annotations

import argparse
from collections.abc import Callable

__all__ = ["count", "origin", "pair", "port", "seconds"]


def port(text: str) -> int:
    """A port: 0, which is any, to 65535."""
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is no port: give a whole number from 0 to 65535")
    return int(text)


def count(text: str) -> int:
    """How many: 0 or more."""
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise argparse.ArgumentTypeError(f"{text!r} is no number: give a whole number, 0 or more")
    return int(text)


def origin(text: str) -> str:
    """The origin of a page (RFC 6454), in lower case, or ``*``."""
    scheme, _, rest = text.partition("://")
    if text != "*" and not (scheme in {"http", "https"} and rest and not set(rest) & set("/?#@ *")):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no origin: give one such as http://localhost:3000, or *"
        )
    return text.lower()


def seconds(text: str) -> float:
    """A time above 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no time: give a number of seconds above 0")
    return value


def pair(separator: str) -> Callable[[str], tuple[str, str]]:
    """Reads a name and a value with *separator* between them."""

    def split(text: str) -> tuple[str, str]:
        name, found, value = text.partition(separator)
        if not found or not name.strip():
            raise argparse.ArgumentTypeError(f"{text!r} needs the form NAME{separator}VALUE")
        return name.strip(), value.strip()

    return split
