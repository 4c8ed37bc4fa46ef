"""What the theme's pages lack for those who use a keyboard or a screen reader: data, and its use."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

__all__ = ["mend"]

# What is written, and what is to be written instead. `make docs-check` finds what this does not cover.
_MENDED: Final = (
    # A heading says of which level it is.
    ('role="heading">', 'role="heading" aria-level="2">'),
    # Two landmarks of a kind have names.
    ('<aside class="sidebar-drawer">', '<aside class="sidebar-drawer" aria-label="Pages">'),
    ('<aside class="toc-drawer', '<aside aria-label="On this page" class="toc-drawer'),
    # What scrolls can be reached with the keyboard.
    ("<pre>", '<pre tabindex="0">'),
    ('<div class="table-wrapper', '<div tabindex="0" class="table-wrapper'),
    # The corner of a table heads nothing.
    ('<th class="head"><p></p></th>', "<td></td>"),
    ('<th class="head"></th>', "<td></td>"),
    # The page of the search has no heading but its script's.
    ('<div id="search-results"></div>', '<h1>Search</h1>\n<div id="search-results"></div>'),
)

# A long signature has its parameters in a list of definitions without terms; `static/site.css` indents them.
_SIGNATURE: Final = re.compile(r'<dt class="sig .*?</dt>', re.DOTALL)
_PARAMETERS: Final = (
    ("<dl>", '<div class="parameters">'),
    ("</dl>", "</div>"),
    ("<dd>", "<div>"),
    ("</dd>", "</div>"),
)


def mend(site: Path) -> None:
    """Rewrite the pages below the directory *site* in place."""
    for path in site.rglob("*.html"):
        text = path.read_text()
        text = _SIGNATURE.sub(lambda signature: _replaced(signature[0], _PARAMETERS), text)
        path.write_text(_replaced(text, _MENDED))


def _replaced(text: str, pairs: tuple[tuple[str, str], ...]) -> str:
    for written, instead in pairs:
        text = text.replace(written, instead)
    return text
