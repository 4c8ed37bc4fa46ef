"""The site builds without a warning; every link in it leads somewhere; nothing is loaded from elsewhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from documentation.links import Page, broken_links, foreign_resources, pages
from tests.servers import ROOT


@pytest.mark.timeout(300)
def test_the_site_builds_without_a_warning_and_a_link_to_a_directory_leads_to_its_front_page(
    tmp_path: Path,
) -> None:
    # The build itself warns of links that lead nowhere, and of what is loaded from elsewhere. Every page is
    # made, in the plain theme: `make docs` makes and checks them in that of the site, at a third more cost.
    built = subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet"),
            *("-D", "html_theme=basic", "--conf-dir", "docs"),
            *("--doctree-dir", tmp_path / "doctrees", ".", tmp_path / "site"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    assert len([*(tmp_path / "site").rglob("*.html")]) > 60
    actions = pages(tmp_path / "site" / "docs", "actions.html")
    (links,) = (page.links for page in actions.values())
    assert any(link.endswith("samples/10_websocket_actions/README.html") for link in links)


def test_a_broken_link_a_missing_place_and_a_foreign_script_are_found(tmp_path: Path) -> None:
    (tmp_path / "there.html").write_text("<h2 id=one>One</h2>")
    (tmp_path / "page.html").write_text(
        '<a href="there.html#one"></a><a href="there.html#two"></a><a href="gone.html"></a>'
        '<a href="https://example.org"></a><script src="https://example.org/script.js"></script>'
    )
    found = pages(tmp_path)
    assert [sentence.partition(": ")[2] for sentence in broken_links(found)] == [
        "there.html#two names no place of that page",
        "gone.html is not there",
    ]
    assert [sentence.partition(": ")[2] for sentence in foreign_resources(found)] == [
        "loads https://example.org/script.js"
    ]


def test_the_icon_of_a_page_is_a_resource_and_its_canonical_address_is_none(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text('<link rel="icon" href="i.png"><link rel="canonical" href="https://example.org/">')
    page: Page = pages(tmp_path)[path]
    assert page.resources == ["i.png"]
