"""Where a step ends, as a user writes it: "paragraph", "line", "tokens:K", or a list of strings."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gsi_node.types import PARAGRAPH, Ends

STRINGS, BYTES = 8, 64
"""A list has so many ends at most, each of so many bytes."""
_TOKENS = re.compile(r"tokens:([1-9][0-9]{0,8})", re.ASCII)


def step_ends(rule: str | Sequence[str]) -> tuple[Ends, int | None]:
    """The ends, and the tokens that a step has at most by this rule. Raises ValueError for what is no rule.

    "line": the first line break behind a byte that is no blank. "tokens:K": after K tokens.
    """
    if rule == "paragraph":
        return PARAGRAPH, None
    if rule == "line":
        return Ends(("\n",), after_text=True), None
    if isinstance(rule, str):
        if (found := _TOKENS.fullmatch(rule)) is None:
            raise ValueError(f'step_end: want "paragraph", "line", "tokens:K" or a list of strings, got {rule!r:.60}')
        return Ends(()), int(found[1])
    if not 1 <= len(rule) <= STRINGS or not all(0 < len(end.encode()) <= BYTES for end in rule):
        raise ValueError(f"step_end: want 1 to {STRINGS} strings of 1 to {BYTES} bytes, got {rule!r:.60}")
    return Ends(tuple(rule)), None
