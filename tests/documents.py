"""What a document shows, in its order: blocks of code, and what they are expected to print."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.servers import ROOT

_BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_NAME = re.compile(r"# (?P<name>[\w.]+\.\w+)\n")


@dataclass(frozen=True)
class Block:
    """A block of a document; *name* is that of the file in its first line, *output* the text after it."""

    language: str
    text: str
    name: str = ""
    output: str | None = None


def blocks(document: str, section: str = "") -> Iterator[Block]:
    """The blocks of *document*, below the repository's root, or of one of its sections."""
    text = (ROOT / document).read_text()
    if section:
        text = text.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
        assert text, f"{document} has no section {section!r}"
    found = list(_BLOCK.finditer(text))
    for match, following in zip(found, [*found, None][1:], strict=True):
        if match["language"] == "text":
            continue
        named = _NAME.match(match["text"])
        shown = following["text"] if following is not None and following["language"] == "text" else None
        yield Block(match["language"], match["text"], named["name"] if named else "", shown)


def write(directory: Path, found: list[Block]) -> None:
    """Write the blocks that name a file."""
    for block in found:
        if block.name:
            (directory / block.name).write_text(block.text)


def matches(output: str, expected: str) -> bool:
    """Whether *output* is as *expected*, where ``…`` is anything, and any lines if it stands alone."""
    lines = [
        r"(?:[^\n]*\n)*?" if line == "…" else re.escape(line).replace("…", "[^\n]*") + "\n"
        for line in expected.strip().splitlines()
    ]
    given = "".join(f"{line}\n" for line in output.replace("\r\n", "\n").strip().splitlines())
    return re.fullmatch("".join(lines), given) is not None
