"""Settings of Sphinx; `make docs` builds the pages into docs/_build."""

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import harness
from docs import generate

project = "dense-ssl-harness"
copyright = "2026, the dense-ssl-harness authors"
release = version = harness.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build", "README.md"]
myst_heading_anchors = 3
highlight_language = "text"
smartquotes = False  # they would make one dash of --
html_theme = "furo"
html_title = f"{project} {release}"
html_static_path = ["_static"]
html_css_files = ["house.css"]
html_copy_source = False
html_show_sphinx = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
add_module_names = False


def setup(app: Any) -> None:
    """Write the generated pages first, lead links to them and take docstrings as plain text."""
    app.connect("builder-inited", lambda _: generate.write(Path(app.srcdir) / "generated"))
    app.connect("source-read", relink)
    app.connect("autodoc-process-docstring", as_text)


def relink(app: Any, name: str, source: list[str]) -> None:
    """Lead the links of a page to the copies of what lies outside docs/."""
    source[0] = generate.relink(source[0])


def as_text(app: Any, kind: str, name: str, of: object, options: object, lines: list[str]) -> None:
    """Escape what a docstring means as it stands; code between single backticks stays code."""
    for number, line in enumerate(lines):
        parts = re.split(r"(`[^`]+`)", line)
        lines[number] = "".join(
            f"`{part}`" if part.startswith("`") else re.sub(r"([*|\\]|_\b)", r"\\\1", part) for part in parts
        )
