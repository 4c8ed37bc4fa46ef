"""The Sphinx extension of the site: what its builder must know beyond Markdown."""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

from documentation import accessibility

# The page that stands for a directory, as on the pages of a forge.
_FRONT_PAGES = ("README", "index")


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register everything with *app*."""
    app.connect("doctree-read", _link_directories)
    app.connect("build-finished", _mend_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


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
