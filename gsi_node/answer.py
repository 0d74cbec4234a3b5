"""The final answer of a response: the content of the last complete \\boxed{…}, by matching braces, behind thinking."""

from __future__ import annotations

import re
from collections.abc import Iterable

_TOKEN = re.compile(r"\\boxed\s*\{|\\.|[{}]", re.DOTALL)


def last_boxed(text: str) -> str | None:
    """The content of the complete \\boxed{…} that begins last, stripped; None where there is none.

    Braces are matched; an escaped brace (\\{ or \\}) is a character, not a brace. Linear in len(text).
    """
    open_braces: list[int | None] = []  # for each open brace: where a box's content begins, None for a plain brace
    best: tuple[int, int] | None = None
    for token in _TOKEN.finditer(text):
        match token.group()[-1]:
            case "{" if token.group() != r"\{":
                open_braces.append(token.end() if len(token.group()) > 1 else None)
            case "}" if token.group() == "}" and open_braces:
                start = open_braces.pop()
                if start is not None and (best is None or start > best[0]):
                    best = (start, token.start())
    return None if best is None else text[slice(*best)].strip()


def visible(steps: Iterable[tuple[str, int]]) -> str:
    """What a response says behind the last of its thinking, "" while that goes on; all of it where there was none.

    steps: of each the text, and `Step.thought`.
    """
    said = ""
    for text, thought in steps:
        said = text[thought:] if thought else said + text
    return said
