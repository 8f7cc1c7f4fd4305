"""Equations of docstrings as MathML, which browsers draw without a script."""

from __future__ import annotations

import re
from textwrap import dedent
from typing import Any

import griffe
from latex2mathml.converter import convert

BLOCK = re.compile(r"^\.\. math::(?P<first>[^\n]*)\n(?P<rest>(?:[ \t]+\S[^\n]*\n|\n)*)", re.MULTILINE)
INLINE = re.compile(r":math:`([^`]+)`")


class Equations(griffe.Extension):
    """Replace ``.. math::`` and ``:math:`` in every docstring."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite an object's docstring."""
        if obj.docstring:
            obj.docstring.value = rewrite(obj.docstring.value)


def rewrite(text: str) -> str:
    """Return a docstring with its equations as MathML."""
    text = BLOCK.sub(lambda found: block(dedent(f"{found['first'].strip()}\n{dedent(found['rest'])}")), text + "\n")
    # Markdown would take a line that begins with <math> for a block of its own.
    return INLINE.sub(lambda found: f'<span class="math">{convert(" ".join(found[1].split()))}</span>', text)


def block(source: str) -> str:
    """Return the lines of an equation, aligned where they have ``&``, as one block."""
    source = source.strip()
    if "&" in source or "\\\\" in source:
        source = rf"\begin{{align*}}{source}\end{{align*}}"
    return f'<div class="equation">{convert(" ".join(source.split()), display="block")}</div>\n\n'
