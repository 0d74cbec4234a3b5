"""The site of `make docs`: every page of the project, with the root of the repository as its source, so that links lead
where they lead in the repository. Nothing is fetched to read it: formulas are MathML, written when it is built."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from pydantic import BaseModel
from sphinx.application import Sphinx

import gsi_node

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # evals, which is no part of the wheel

project, author, version = "gsi_node", "The gsi_node authors", gsi_node.__version__
root_doc = "docs/index"
include_patterns = ["docs/**.md", "*.md", "gsi_node/pocket/MODEL_CARD.md", "examples/*.ipynb"]
exclude_patterns = ["build", "dist", "runs", ".*", "**/.*", "**/node_modules", "tests", "locks"]
extensions = ["myst_nb", "sphinx.ext.autodoc"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_execution_timeout = 600
nb_execution_show_tb = True
nb_merge_streams = True
os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # tqdm, where ipywidgets is not installed

default_role = "code"  # docstrings write `name`
autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

smartquotes = False  # "--n" is an option
html_theme = "furo"
html_title = "gsi_node"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
html_additional_pages = {"index": "front.html"}
templates_path = ["templates"]


def plain_words(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text with `names`: no other sign of theirs is markup."""
    lines[:] = ["`".join(_escaped(part, i) for i, part in enumerate(line.split("`"))) for line in lines]


def no_fields(app: Sphinx, what: str, name: str, obj: Any, *signature: Any) -> tuple[str, str] | None:
    """Settings are a table, and no signature."""
    return ("", "") if isinstance(obj, type) and issubclass(obj, BaseModel) else None


def _escaped(part: str, place: int) -> str:
    return part if place % 2 else re.sub(r"(?<!\\)([*|]|_\b)", r"\\\1", part)


def mathml(self: Any, node: nodes.math | nodes.math_block) -> None:
    """A formula as MathML, which browsers draw themselves."""
    block = isinstance(node, nodes.math_block)
    formula = convert(node.astext(), display="block" if block else "inline")
    self.body.append(f'<div class="math">{formula}</div>' if block else formula)
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """What the site needs beside its settings."""
    app.add_html_math_renderer("mathml", (mathml, None), (mathml, None))
    app.connect("autodoc-process-docstring", plain_words)
    app.connect("autodoc-process-signature", no_fields)


html_math_renderer = "mathml"
