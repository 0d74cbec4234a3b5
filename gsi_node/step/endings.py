"""Where a step ends, as a user writes it: "paragraph", "line", "tokens:K", or a list of strings."""

from __future__ import annotations

import re
from difflib import get_close_matches

from gsi_node.errors import ConfigError, shown, whole_text
from gsi_node.host.strict_json import parsed
from gsi_node.types import PARAGRAPH, Ends

STRINGS, BYTES = 8, 64
"""A list has so many ends at most, each of so many bytes."""
_NAMED = {"paragraph": PARAGRAPH, "line": Ends(("\n",), after_text=True)}
_TOKENS = re.compile(r"tokens:([1-9][0-9]{0,8})", re.ASCII)
StepEndRule = str | tuple[str, ...]


def read_rule(value: object) -> StepEndRule:
    """A rule as code, a file or a command line gives it; there a list is its JSON text. Raises ConfigError.

    "paragraph": an empty line. "line": the first line break behind a byte that is no blank. "tokens:K": K tokens.
    """
    if isinstance(value, str) and value.startswith("["):
        value = parsed(value, "step_end")
    if isinstance(value, str):
        if value in _NAMED or _TOKENS.fullmatch(value):
            return value
        near = get_close_matches(value, (*_NAMED, "tokens:16"), 1)
        raise ConfigError(
            'step_end: want "paragraph", "line", "tokens:K" with K ≥ 1, or a list of strings (["."]), got '
            f"{shown(value)}" + (f'; did you mean "{near[0]}"?' if near else "")
        )
    if not isinstance(value, list | tuple) or not all(isinstance(end, str) for end in value):
        raise ConfigError(f"step_end: want a rule's name or a list of strings, got {shown(value)}")
    for end in value:
        whole_text(end, "step_end")
    if not 1 <= len(value) <= STRINGS or not all(1 <= len(end.encode()) <= BYTES for end in value):
        raise ConfigError(f"step_end: want 1 to {STRINGS} strings of 1 to {BYTES} bytes each, got {shown(value)}")
    return tuple(value)


def step_ends(rule: StepEndRule) -> tuple[Ends, int | None]:
    """The ends of a rule, and the tokens that a step has at most by it."""
    if isinstance(rule, tuple):
        return Ends(rule), None
    if found := _TOKENS.fullmatch(rule):
        return Ends(()), int(found[1])
    return _NAMED[rule], None


def ended(text: str, ends: Ends) -> str:
    """A step's text, with the first of the ends where it has none. Under "tokens:K" as it is."""
    if not ends.strings or text.endswith(ends.strings):
        return text
    end = ends.strings[0]
    there = next(count for count in reversed(range(len(end))) if text.endswith(end[:count]))
    return text + end[there:]
