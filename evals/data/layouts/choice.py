"""Multiple choice: lettered choices under the question, and the letter as the answer."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_uppercase

from evals.data.layouts.base import Reading
from gsi_node.errors import ConfigError, shown


def reading(question: str, choices: object, answer: object) -> Reading:
    """The question with its choices as A., B., …; `answer` is an index from 0, a letter, or the text of one choice."""
    if not isinstance(choices, Sequence) or isinstance(choices, str) or not 2 <= len(choices) <= len(ascii_uppercase):
        raise ConfigError(f"choices must be a list of 2 to {len(ascii_uppercase)} texts, but they are {shown(choices)}")
    for choice in choices:
        if isinstance(choice, bool) or not isinstance(choice, str | int | float) or not str(choice).strip():
            raise ConfigError(f"a choice is a text or a number, but one is {shown(choice)}")
    letters = ascii_uppercase[: len(choices)]
    lines = [f"{letter}. {str(choice).strip()}" for letter, choice in zip(letters, choices, strict=True)]
    ask = f"Answer with the letter of the right choice, {letters[0]} to {letters[-1]}, in \\boxed{{}}."
    text = "\n".join([question.strip(), *lines, ask])
    return Reading(text, _letter(letters, choices, answer), "choice", {"choices": [str(choice) for choice in choices]})


def _letter(letters: str, choices: Sequence[object], answer: object) -> str:
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(letters):
        return letters[answer]
    if isinstance(answer, str):
        text = answer.strip()
        if len(text) == 1 and text.upper() in letters:
            return text.upper()
        if [str(choice).strip() for choice in choices].count(text) == 1:
            return letters[[str(choice).strip() for choice in choices].index(text)]
    raise ConfigError(
        f"the answer of {len(letters)} choices must be an index from 0 or a letter, but it is {shown(answer)}"
    )
