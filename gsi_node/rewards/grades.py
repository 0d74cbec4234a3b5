"""The grade in a judge's answer: one digit, behind whatever it thought; and its expected value, where it is listed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import exp, fsum
from typing import Any, NamedTuple

from gsi_node.models.servers.dialect import number
from gsi_node.models.servers.http import Failed
from gsi_node.text.thinking import FAMILIES

LARGEST = 9
LISTED = 20
"""Tokens that a server is asked to list beside the grade's: the most that OpenAI's API and vLLM give by default."""
_GRADE = re.compile(r"\s*([0-9])\s*")


def grade_in(text: str) -> int | None:
    """The digit that is all that an answer says behind its thinking; None where that is anything else."""
    for family in FAMILIES:
        text = text.rpartition(family.closes)[2]
    found = _GRADE.fullmatch(text)
    return None if found is None else int(found[1])


def still_thinks(text: str) -> bool:
    """Whether an answer ends in the middle of its thinking, whose beginning it shows."""
    return any(family.opens in text.rpartition(family.closes)[2] for family in FAMILIES)


class MeanGrade(NamedTuple):
    """An expected grade, in [0, 9]."""

    value: float


def expected_grade(choice: Mapping[str, Any], grade: int) -> MeanGrade:
    """Σ d p(d) / Σ p(d) over the digits listed where the answer has its grade. Failed for a choice without such a list,
    or one whose tokens have another digit there. choice: as /v1/chat/completions writes it."""
    tokens = (choice.get("logprobs") or {}).get("content") or ()
    digits = [entry for entry in tokens if _GRADE.fullmatch(entry["token"])]
    if not digits:
        raise Failed(
            "it lists no log-probabilities of the grade's token",
            fix="Take read=expected out of the spec, or use a server that has logprobs and top_logprobs",
            again=False,
        )
    if int(digits[-1]["token"]) != grade:
        raise Failed(f"it contradicts itself: it says {grade}, and its tokens {digits[-1]['token']!r:.20}", again=False)
    listed = {entry["token"]: exp(number(entry["logprob"])) for entry in (*digits[-1]["top_logprobs"], digits[-1])}
    chances = [(int(token), chance) for token, chance in listed.items() if _GRADE.fullmatch(token)]
    return MeanGrade(min(LARGEST, fsum(d * p for d, p in chances) / fsum(p for _, p in chances)))
