"""Formulas as MathML, which browsers draw by themselves: a page needs no script and no network."""

import re

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata
from sphinx.writers.html5 import HTML5Translator

SIZES = re.compile(r"\\[bB]ig+[lr]?(?![a-zA-Z])")
"""Sizes of brackets; those of MathML grow by themselves."""


def visit(self: HTML5Translator, node: nodes.math | nodes.math_block) -> None:
    """Write a formula; an unknown command of TeX is an error of the build."""
    block = isinstance(node, nodes.math_block)
    formula = tex2mathml(SIZES.sub("", node.astext()), as_block=block)
    self.body.append(f'<div class="math">{formula}</div>' if block else formula)
    raise nodes.SkipNode


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the renderer of formulas."""
    app.add_html_math_renderer("mathml", (visit, None), (visit, None))
    app.config["html_math_renderer"] = "mathml"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
