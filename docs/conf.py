"""Settings of the documentation: ``pip install -e ".[docs]" && sphinx-build -W docs site``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import _pages

_pages.write()

project = "ASPIRE"
author = "the developers of aspire-shortcuts"
html_title = "ASPIRE"
extensions = ["myst_parser", "sphinx_copybutton", "sphinx_design"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["site"]
# The changelog and docstrings quote code that a highlighter takes for broken.
suppress_warnings = ["misc.highlighting_failure"]

html_theme = "furo"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b7a6f", "color-brand-content": "#0b7a6f"},
    "dark_css_variables": {"color-brand-primary": "#4fd1c0", "color-brand-content": "#4fd1c0"},
}
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
