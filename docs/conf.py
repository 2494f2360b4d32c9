"""Sphinx configuration: ``sphinx-build -W -b html docs docs/_build`` needs no network."""

import re
import textwrap
from importlib.metadata import version as installed

project = "ensf"
author = copyright = "The ensf developers"
release = version = installed("ensf")

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
exclude_patterns = ["_build", "_templates", "snippets", "gallery"]
templates_path = ["_templates"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"
add_module_names = False
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_gallery",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "show_memory": False,
    "write_computation_times": False,
    "show_signature": False,
}

COLUMNS = re.compile(r"^ |\S   ", re.MULTILINE)

html_theme = "pydata_sphinx_theme"
html_title = f"ensf {release}"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": False, "show_toc_level": 2, "secondary_sidebar_items": ["page-toc"]}


def formulas_as_they_are(app, what, name, obj, options, lines):
    """Paragraphs of a room's docstring with indented lines or columns are formulas, not quotations."""
    if what == "module":
        paragraphs = "\n".join(lines).strip().split("\n\n")
        shown = [formula(p) if COLUMNS.search(p) else p.replace("|", r"\|") for p in paragraphs]
        lines[:] = ("\n\n".join(shown) + "\n\n").split("\n")


def formula(paragraph):
    """The paragraph as a literal block."""
    return "::\n\n" + textwrap.indent(textwrap.dedent(paragraph), "    ")


def setup(app):
    """Connect the above."""
    app.connect("autodoc-process-docstring", formulas_as_they_are, priority=0)
