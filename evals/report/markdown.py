"""Text that is quoted in Markdown: names, data sets, errors and notes appear as they are, and act on nothing."""

from __future__ import annotations

import re

_ACTIVE = re.compile(
    r"""[\\`~|]                              # escapes, code, strokes, cells
    |(?<=\S)\*|\*(?=\S)                      # emphasis, which no lone star is
    |(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])      # emphasis, which no bar within a name is
    |!(?=\[)|\](?=[(\[:])                    # images, links and their definitions
    |(?<=[A-Za-z]):(?=//)|(?<=[wW]{3})\.     # addresses that some renderers turn into links
    """,
    re.VERBOSE,
)
_BLOCK = re.compile(
    r"""^[-+*=#](?!\S)|^>|^-(?=[-\s]*$)       # what begins a list, heading or quote, or is a rule
    |(?<!\#)\#+$                            # what ends a heading
    """,
    re.VERBOSE,
)
_NUMBERED = re.compile(r"^([0-9]{1,9})([.)])(?!\S)")
_HTML = re.compile(r"<(?=[A-Za-z/!?])|&(?=\#?[0-9A-Za-z]+;)")


def printable(text: str) -> str:
    r"""The text on one line; what cannot be printed as an escape, such as \x1b."""
    return "".join(c if c.isprintable() else " " if c.isspace() else ascii(c)[1:-1] for c in text)


def quoted(text: str) -> str:
    """The text as inline Markdown that renders as itself, on one line."""
    return _NUMBERED.sub(r"\1\\\2", _BLOCK.sub(_escaped, quoted_cell(text)))


def quoted_cell(text: str) -> str:
    """The same within a table, where no block can begin."""
    marked = _ACTIVE.sub(_escaped, printable(text))
    marked = _HTML.sub(lambda found: {"<": "&lt;", "&": "&amp;"}[found.group()], marked)
    return "&#32;" + marked[1:] if marked.startswith(" ") else marked  # behind spaces a block could begin


def _escaped(found: re.Match[str]) -> str:
    return "".join("\\" + char for char in found.group())
