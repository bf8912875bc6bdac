"""How Sphinx builds these pages: `make docs`, with every warning an error."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "uringtrio"
copyright = "the uringtrio authors"  # noqa: A001  # Sphinx's name
html_title = "uringtrio"
html_theme = "furo"
html_show_sphinx = False

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "reference"]
exclude_patterns = ["_build"]

nitpicky = True
# Single backticks in docstrings: a link if it is one of our names, else code.
default_role = "py:name"

autodoc_class_signature = "mixed"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# Fields of the class, rather than entries of their own beside those of autodoc.
napoleon_use_ivar = True
# The signature says the types.
napoleon_attr_annotations = False
python_maximum_signature_line_length = 88

# Terms and their explanations, in the page for those who come from Trio.
myst_enable_extensions = ["deflist"]
# A heading's anchor, for links to it from other pages.
myst_heading_anchors = 3
