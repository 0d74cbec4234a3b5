r"""Multiple choice: the letter in the box, however it is dressed: C, (c), \text{C}, "C. 1/3", or the whole choice."""

from __future__ import annotations

import re
from collections.abc import Mapping
from string import ascii_uppercase
from typing import Any

from evals.graders import notation

_LETTER = re.compile(r"\(? ?([A-Za-z]) ?\)?[.:)]?")
_LED = re.compile(r"(?:\( ?([A-Za-z]) ?\)|([A-Za-z]) ?[.:)]) ?(?! ?(?:and|or|,|/|&))(.+)", re.DOTALL)


def letter(text: str, choices: list[str]) -> str | None:
    """The letter that an answer names, A for the first choice; None where it names none or more than one."""
    letters = ascii_uppercase[: len(choices)] or ascii_uppercase
    plain = " ".join(
        re.sub(r"\\(?:text|mathrm|textbf|mathbf|boldsymbol|bf)(?![a-zA-Z])\s*", "", text.replace("$", " ")).split()
    )
    plain = plain.replace("{", " ").replace("}", " ").strip()
    plain = plain.removeprefix("\\").strip()
    match = _LETTER.fullmatch(plain) or _LED.fullmatch(plain)
    found = next((part for part in match.groups() if part), "").upper() if match else ""
    if found and found in letters:
        return found
    said = notation.squeezed(notation.bare(text))
    named = [
        here for here, choice in zip(letters, choices, strict=False) if notation.squeezed(notation.bare(choice)) == said
    ]
    return named[0] if len(named) == 1 else None


def equal(gold: str, predicted: str, meta: Mapping[str, Any]) -> tuple[bool, str | None]:
    """Whether `predicted` names the letter that `gold` names, and why not where it names none."""
    choices = list(meta.get("choices", ()))
    found = letter(predicted, choices)
    if found is None:
        return False, "the answer is not one of the letters"
    return found == letter(gold, choices), None
