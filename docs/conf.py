"""How Sphinx makes a site of the Markdown pages in this directory; ``make docs`` runs it."""

import re
from pathlib import Path

project = "whereabouts"
author = "the whereabouts authors"
release = re.findall(
    r'^__version__ = "(.+)"$', Path(__file__).parents[1].joinpath("whereabouts/__init__.py").read_text(), re.M
)[0]

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_static"]

# Links to a heading, `page.md#heading`, are looked up, and one that leads nowhere is a warning.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]

html_theme = "furo"
html_title = f"whereabouts {release}"
html_static_path = ["_static"]
html_css_files = ["console.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False

# A block without a language is a drawing or an excerpt, not Python.
highlight_language = "none"
