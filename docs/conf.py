"""Settings of the documentation site, which ``make docs`` builds into runs/docs."""

import sys
from pathlib import Path

import crate_transformer

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "crate-transformer"
author = "The crate-transformer developers"
release = version = crate_transformer.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "mathml",
    "interactive_page",
    "command_help",
    "offline",
]
source_suffix = {".md": "markdown"}

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4

add_module_names = False
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
python_maximum_signature_line_length = 100
napoleon_google_docstring = True
napoleon_numpy_docstring = False

nitpicky = True
nitpick_ignore = [("py:class", f"crate_transformer.data.batches.{name}Batches") for name in ("Train", "Ordered")]
# type variables
nitpick_ignore += [("py:class", f"crate_transformer.data.{name}") for name in ("parts.Part", "source._Self")]
nitpick_ignore_regex = [("py:.*", r"(?!crate_transformer\.).*")]  # other packages' names: the site needs no network

html_theme = "furo"
html_title = "crate-transformer"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_copy_source = html_show_sourcelink = html_show_copyright = False
html_theme_options = {"light_css_variables": {"font-stack": "system-ui, sans-serif"}}
