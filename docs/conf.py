"""Sphinx configuration. The build makes tables and links to lines from the code."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "CleanMARL QMIX"
author = copyright = "the CleanMARL QMIX authors"
extensions = [
    "myst_nb",  # myst_parser, and notebooks
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",  # formulas without internet
    "sphinx_copybutton",
    "sphinx_design",
    "tables",
    "lines",
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "force"  # the notebooks are stored without their outputs
nb_execution_raise_on_error = True
nb_execution_timeout = 300  # seconds a cell, on a busy machine
html_theme = "furo"
html_title = "CleanMARL QMIX"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_show_copyright = False
pygments_style = "friendly"
pygments_dark_style = "monokai"
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False
# Types of other packages: their sites are not fetched, so there is nothing to link to.
nitpick_ignore_regex = [("py:.*", r"(?!cleanmarl|smaclite_jit).*")]
