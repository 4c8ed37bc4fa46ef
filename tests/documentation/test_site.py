"""The site builds without a warning; every link in it leads somewhere; nothing is loaded from elsewhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from documentation.links import Page, broken_links, foreign_resources, pages
from tests.servers import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet"),
            *("--conf-dir", "docs", "--doctree-dir", directory / "doctrees", ".", directory / "site"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return directory / "site"


@pytest.mark.timeout(300)
def test_every_link_of_the_site_leads_somewhere_and_nothing_comes_from_elsewhere(site: Path) -> None:
    found = pages(site)
    assert len(found) > 30
    assert [*broken_links(found), *foreign_resources(found)] == []


@pytest.mark.timeout(300)
def test_a_link_to_a_directory_leads_to_its_front_page(site: Path) -> None:
    actions = next(page for path, page in pages(site).items() if path.name == "actions.html")
    assert any(link.endswith("samples/10_websocket_actions/README.html") for link in actions.links)


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
