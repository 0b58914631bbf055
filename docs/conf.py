"""Sphinx: the tables of the reference come from the code, by ``_ext/tables.py``."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]

from comet import __version__  # noqa: E402 (the path comes first)

project = "Comet"
author = "the Comet contributors"
project_copyright = f"2026, {author}"
release = version = __version__
extensions = ["tables"]
exclude_patterns = ["_build", "_ext"]
html_theme = "alabaster"
html_theme_options = {"description": "A push daemon on Twisted", "fixed_sidebar": True}
html_copy_source = False
highlight_language = "none"
nitpicky = True
