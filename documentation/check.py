"""Open every page of the built site in headless Chromium: ``python -m documentation.check build/site``.

Each page is shown in the light and in the dark scheme, and in the width of a phone. Wrong is what axe finds,
a page that is wider than the phone, a script that fails, and a request that leaves the site.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal

from playwright.sync_api import Browser, Page, sync_playwright

from documentation.links import broken_links, foreign_resources, pages

_BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
_AXE: Final = files("axe_playwright_python").joinpath("axe.min.js").read_text()


@dataclass(frozen=True)
class View:
    """A way to look at a page; lengths in CSS pixels."""

    name: str
    scheme: Literal["light", "dark"]
    width: int
    height: int


VIEWS: Final = (
    View("light", "light", 1280, 900),
    View("dark", "dark", 1280, 900),
    View("phone", "light", 360, 740),
)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        """Keep the log to ourselves."""


@contextmanager
def _served(site: Path) -> Generator[str, None, None]:
    """Serve *site* on a free port of this machine; yields the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _look(browser: Browser, address: str, paths: list[str], view: View) -> Iterator[str]:
    """Look at the pages at *paths* below *address*, and say what is wrong."""
    context = browser.new_context(
        viewport={"width": view.width, "height": view.height}, color_scheme=view.scheme
    )
    page = context.new_page()
    wrong: list[str] = []

    def asked(url: str) -> None:
        if not url.startswith((address, "data:")):
            wrong.append(f"asked for {url}")

    page.on("request", lambda request: asked(request.url))
    page.on("pageerror", lambda error: wrong.append(f"a script failed: {error}"))
    for path in paths:
        page.goto(f"{address}/{path}")
        wrong.extend(_examine(page, view))
        yield from (f"{path} ({view.name}): {' '.join(sentence.split())}" for sentence in wrong)
        wrong.clear()
    context.close()


def _examine(page: Page, view: View) -> Iterator[str]:
    width = page.evaluate("document.documentElement.scrollWidth")
    if width > view.width:
        yield f"is {width} pixels wide"
    page.evaluate(_AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    for violation in found["violations"]:
        first = violation["nodes"][0]
        yield f"axe: {violation['id']}, {len(violation['nodes'])} times: {first['html'][:200]}"


def check(site: Path, executable: str, only: str = "") -> list[str]:
    """Look at the pages in *site* whose path has *only* in it, with the browser *executable*.

    Returns:
        One sentence for each thing that is wrong.
    """
    found = pages(site)
    wrong = [*broken_links(found), *foreign_resources(found)]
    paths = [page.relative_to(site.resolve()).as_posix() for page in found]
    paths.remove("index.html")  # leads on to the first page at once
    paths = [path for path in paths if only in path]
    with _served(site) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        for view in VIEWS:
            wrong += _look(browser, address, paths, view)
        browser.close()
    print(f"looked at {len(paths)} pages, {len(VIEWS)} times each")
    return wrong


def main() -> int:
    """Run the command; the exit code is 1 if something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m documentation.check", description=__doc__)
    parser.add_argument("site", type=Path, help="the directory that 'make docs' wrote")
    parser.add_argument("--only", default="", help="the pages whose path has this in it", metavar="TEXT")
    arguments = parser.parse_args()
    executable = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if executable is None:
        parser.error(f"none of {', '.join(_BROWSERS)} is installed: apt-get install chromium")
    wrong = check(arguments.site, executable, arguments.only)
    print("\n".join(wrong) or "nothing is wrong")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
