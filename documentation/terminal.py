"""What a terminal shows, as a picture: text with its colours in, SVG out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Final

__all__ = ["plain", "terminal"]

_LINE: Final = 19
_CHARACTER: Final = 7.8
_MARGIN: Final = 18
_TEXT: Final = "#e6e6e6"
# Of what a program may ask for (ECMA-48, SGR), as it is shown on the dark ground; all of it readable there.
_COLOURS: Final[Mapping[str, str]] = {
    "2": "#a8a8a8",
    "31": "#ff8f87",
    "32": "#8fdc8f",
    "33": "#e8c95a",
    "34": "#8fb8ff",
    "35": "#e0a0e8",
    "36": "#7fd6dc",
}
_ESCAPE: Final = re.compile(r"\x1b\[([0-9;]*)m")


def plain(text: str) -> str:
    """*text* without its colours."""
    return _ESCAPE.sub("", text)


def terminal(text: str, title: str, *, columns: int = 100) -> str:
    """A terminal that shows *text*, as a file of its own.

    Args:
        text: Lines, with the escape sequences of colours.
        title: What it shows, for those who hear it.
        columns: After so many characters a line goes on in the next one.
    """
    lines = [part for line in text.splitlines() for part in _wrapped(line, columns)]
    width = round(columns * _CHARACTER + 2 * _MARGIN)
    height = len(lines) * _LINE + 2 * _MARGIN
    shown = (
        f'<text x="{_MARGIN}" y="{_MARGIN + _LINE * number + 14}">{"".join(_spans(line))}</text>'
        for number, line in enumerate(lines)
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width}" height="{height}"'
            f' viewBox="0 0 {width} {height}" aria-labelledby="title description">',
            f'<title id="title">{escape(title)}</title>',
            f'<desc id="description">{escape(plain(text))}</desc>',
            f'<rect width="{width}" height="{height}" rx="8" fill="#1d1f21"/>',
            f'<g fill="{_TEXT}" font-family="ui-monospace, Menlo, Consolas, monospace" font-size="13"'
            ' style="white-space: pre">',
            *shown,
            "</g>",
            "</svg>\n",
        ]
    )


def _wrapped(line: str, columns: int) -> Iterator[str]:
    """The lines that *line* takes; colours count nothing."""
    while len(plain(line)) > columns:
        end = columns
        while len(plain(line[:end])) < columns:
            end += 1
        yield line[:end]
        line = "  " + line[end:]
    yield line


def _spans(line: str) -> Iterator[str]:
    colour = ""
    for number, part in enumerate(_ESCAPE.split(line)):
        if number % 2:
            colour = _colour(part.split(";"))
        elif part:
            text = escape(part)
            yield f'<tspan fill="{colour}">{text}</tspan>' if colour else text


def _colour(codes: Sequence[str]) -> str:
    return next((_COLOURS[code] for code in codes if code in _COLOURS), "")
