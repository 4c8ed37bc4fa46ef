"""What the pages of a built site lead to and load: data read from their HTML, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["Page", "broken_links", "foreign_resources", "pages"]

_LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "object": "data"}
# Kinds of ``<link>`` that a browser fetches by itself.
_FETCHED = {"stylesheet", "icon", "preload", "modulepreload", "preconnect", "manifest"}


@dataclass
class Page:
    """A page of the site.

    Args:
        path: The file.
        links: What its ``<a>`` lead to, as written.
        resources: What a browser loads with it, as written.
        anchors: The ids that a link may name.
    """

    path: Path
    links: list[str] = field(default_factory=list[str])
    resources: list[str] = field(default_factory=list[str])
    anchors: set[str] = field(default_factory=set[str])


def pages(site: Path, named: str = "*.html") -> dict[Path, Page]:
    """Every page below the directory *site* whose name fits the pattern *named*, read."""
    return {path: _read(path) for path in sorted(site.resolve().rglob(named)) if "_static" not in path.parts}


def broken_links(found: dict[Path, Page]) -> Iterator[str]:
    """Say of each link within the site that leads nowhere from where it does not."""
    for page in found.values():
        for link in [*page.links, *page.resources]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
            if not target.is_file():
                yield f"{page.path}: {link} is not there"
            elif parts.fragment and target in found and unquote(parts.fragment) not in found[target].anchors:
                yield f"{page.path}: {link} names no place of that page"


def foreign_resources(found: dict[Path, Page]) -> Iterator[str]:
    """Say of each thing that a browser would load from elsewhere which page asks for it."""
    for page in found.values():
        for resource in page.resources:
            parts = urlsplit(resource)
            if parts.netloc or parts.scheme not in {"", "data"}:
                yield f"{page.path}: loads {resource}"


class _Reader(HTMLParser):
    """Collects from the tags of one page."""

    def __init__(self, page: Page) -> None:
        super().__init__()
        self.page = page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what *tag* leads to, loads and names."""
        named = {name: value for name, value in attrs if value is not None}
        self.page.anchors |= {named[key] for key in ("id", "name") if key in named}
        if tag == "a" and "href" in named:
            self.page.links.append(named["href"])
        elif tag == "link" and _FETCHED & set(named.get("rel", "").split()):
            self.page.resources.append(named["href"])
        elif tag in _LOADED and _LOADED[tag] in named:
            self.page.resources.append(named[_LOADED[tag]])


def _read(path: Path) -> Page:
    page = Page(path)
    _Reader(page).feed(path.read_text())
    return page
