"""How Sphinx makes the site: the pages are the Markdown files where they lie, so that links hold in both."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from pygments.lexers.special import TextLexer  # noqa: E402 - as below
from sphinx.application import Sphinx  # noqa: E402 - as below

from agentserver import __version__  # noqa: E402 - the checkout's, whatever is installed

project = "agentserver"
version = release = __version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "documentation.extension",
]

root_doc = "docs/index"
include_patterns = ["docs/**.md", "samples/**/README.md", "parity/reference-agent.md"]
include_patterns += ["CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]
exclude_patterns = [".*", "**/.venv", "**/.*", "build", "dist"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4

autodoc_class_signature = "mixed"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
default_role = "py:obj"
napoleon_numpy_docstring = False
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"agentserver {version}"
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
html_extra_path = ["root"]
html_static_path = ["static"]
html_css_files = ["site.css"]
# Colours with the contrast that WCAG asks for, on both grounds.
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"


def setup(app: Sphinx) -> None:
    """Show as they are: the conversations of docs/actions.md, and what Pygments has no lexer for."""
    app.add_lexer("conversation", TextLexer)
    app.add_lexer("haproxy", TextLexer)
