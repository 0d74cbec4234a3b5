"""Steps may hold blank lines where they end elsewhere; in the formats of reward models those separate steps."""

from __future__ import annotations

import re

_BLANK_LINES = re.compile(r"\n\s*\n")


def one_paragraph(text: str) -> str:
    """The text with a single line break for each run of blank lines."""
    return _BLANK_LINES.sub("\n", text)
