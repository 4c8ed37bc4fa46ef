"""The Sphinx extension of the site: what its builder must know beyond Markdown."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

from documentation import accessibility
from documentation.differences import differences
from documentation.links import broken_links, foreign_resources, pages
from documentation.names import documented, public_names
from documentation.pictures import PICTURES
from documentation.pictures.drawing import svg
from documentation.tables import TABLES

_FOREIGN_MODULE = re.compile(r'<li><a href="(?!agentserver)[^"]*">[\w.]*</a></li>\n')

logger = logging.getLogger(__name__)

# The page that stands for a directory, as on the pages of a forge.
_FRONT_PAGES = ("README", "index")


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register everything with *app*."""
    app.add_directive("table-of", _TableOf)
    app.add_directive("names-of", _NamesOf)
    app.add_directive("differences-of", _DifferencesOf)
    app.add_directive("picture-of", _PictureOf)
    app.connect("doctree-read", _link_directories)
    app.connect("build-finished", _mend_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class _Made(SphinxDirective):
    """A part of a page that is made from the code: Markdown, which is read as if it stood there."""

    required_arguments = 1

    def parsed(self, markdown: str) -> list[nodes.Node]:
        """Read *markdown* as a part of this page."""
        parent = nodes.container()
        lines = StringList(markdown.splitlines(), self.get_location())
        self.state.nested_parse(lines, self.content_offset, parent)
        return parent.children


class _TableOf(_Made):
    """``{table-of} host-options``: one of the tables."""

    def run(self) -> list[nodes.Node]:
        """Put it in its place."""
        return self.parsed(TABLES[self.arguments[0]]())


class _NamesOf(_Made):
    """``{names-of} agentserver.client``: every public name of a module, from its docstring."""

    def run(self) -> list[nodes.Node]:
        """Put them in their place."""
        return self.parsed(documented(self.arguments[0]))


class _DifferencesOf(_Made):
    """``{differences-of} python-1.2.0``: what another implementation does otherwise."""

    def run(self) -> list[nodes.Node]:
        """Put them in their place."""
        return self.parsed(differences(self.arguments[0]))


class _PictureOf(_Made):
    """``{picture-of} websocket``: one of the pictures, and the same in words to unfold."""

    def run(self) -> list[nodes.Node]:
        """Put it in its place."""
        (name,) = self.arguments
        picture = PICTURES[name]()
        words = "".join(f"<li>{escape(sentence)}</li>" for sentence in picture.words)
        html = (
            f'<div class="drawn" tabindex="0" role="group" aria-label="{escape(picture.title)}">'
            f"{svg(picture, name)}</div>"
            f"<details><summary>{escape(picture.title)}, in words</summary><ul>{words}</ul></details>"
        )
        return [nodes.raw("", html, format="html")]


def _link_directories(app: Sphinx, page: nodes.document) -> None:
    """Lead links to directories to their front pages; without one they stay the text that they were."""
    here = Path(app.env.doc2path(app.env.docname)).parent
    for link in [*page.findall(pending_xref)]:
        directory = (here / link["reftarget"]).resolve()
        if link.get("reftype") != "myst" or not directory.is_dir():
            continue
        fronts = ((directory / name).relative_to(app.srcdir).as_posix() for name in _FRONT_PAGES)
        front = next((name for name in fronts if name in app.env.found_docs), None)
        if front is None:
            link.replace_self(link.children)
        else:
            link.attributes.update(refdomain="std", reftype="doc", reftarget=f"/{front}")


def _mend_pages(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        accessibility.mend(Path(app.outdir))
        _mend_source(Path(app.outdir))
        found = pages(Path(app.outdir))
        for sentence in (*broken_links(found), *foreign_resources(found)):
            logger.warning(sentence)


def _mend_source(site: Path) -> None:
    """Lead from the source of the errors back to the names that users import; it knows one module of them.

    And take the stand-ins for other libraries out of the list of modules.
    """
    page = site / "_modules" / "agentserver" / "errors.html"
    text = page.read_text()
    for name in public_names()["agentserver"]:
        text = text.replace(f'#agentserver.errors.{name}"', f'#agentserver.{name}"')
    page.write_text(text)
    modules = site / "_modules" / "index.html"
    modules.write_text(_FOREIGN_MODULE.sub("", modules.read_text()))
