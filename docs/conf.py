"""The documentation as a site: ``make docs`` writes it to build/docs/html."""

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS / "_extensions"), str(DOCS.parent)]

from neuralop_irno.version import VERSION  # noqa: E402 - found by the line above

project = "neuralop_irno"
author = "The neuralop_irno engineers"
version = release = VERSION
html_title = f"neuralop_irno {VERSION}"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "mathml",
    "public_names",
    "links_to_files",
    "sphinx_gallery.gen_gallery",
    "sphinx_copybutton",
]
exclude_patterns = ["_*"]
nitpicky = True

myst_heading_anchors = 4  # headings have the anchors that code hosts give them

templates_path = ["_templates"]
autodoc_member_order = "bysource"
autosummary_ignore_module_all = False
autosummary_imported_members = True
autodoc_inherit_docstrings = False
autodoc_preserve_defaults = True
napoleon_use_ivar = True
napoleon_use_rtype = False
default_role = "py:obj"
copybutton_prompt_text = ">>> "  # and prompts are not copied
maximum_signature_line_length = 90

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "ignore_pattern": r"(^|/)(?!plot_)[^/]*$",
    "filename_pattern": r"/plot_(?!car_surface)",  # its data are no part of the package
    "default_thumb_file": str(DOCS / "pictures/fields.png"),
    "image_scrapers": ("matplotlib", "saved_pictures.scrape"),
    "capture_repr": (),  # what is printed is shown, and no value of a last line
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
    "remove_config_comments": True,
}

html_theme = "furo"
pygments_dark_style = "github-dark"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
