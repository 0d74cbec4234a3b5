"""What is compared in the caller's process gets the verdict that the process of the graders gives."""

from __future__ import annotations

from string import ascii_letters
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.graders.grading import _plainly
from evals.graders.messages import GradeRequest
from evals.graders.worker import answer

WHOLE = st.integers(-(10**17), 10**17).map(str)
PLAIN = st.from_regex(r"[-+]?[0-9][0-9., /+-]{0,8}", fullmatch=True) | WHOLE | st.integers(-20, 20).map(str)
METAS: list[dict[str, Any]] = [
    {},
    {"rel_tol": 1e-4},
    {"abs_tol": 2},
    {"unit": "%"},
    {"several": True, "type": "Numerical"},
]


def verdicts(kind: str, meta: dict[str, Any], gold: str, predicted: str) -> tuple[Any, Any]:
    """(the plain verdict, the other's), as far as both decide."""
    plain = _plainly(kind, meta, gold, predicted, True)
    request: GradeRequest = {"kind": kind, "meta": meta, "gold": gold, "predicted": predicted, "by_text": True}
    return (None, None) if plain is None else (plain[0], answer(request)["equal"])


@given(st.sampled_from(["math", "olympiad", "exact"]), st.sampled_from(METAS), PLAIN, PLAIN)
def test_plain_numbers(kind: str, meta: dict[str, Any], gold: str, predicted: str) -> None:
    for pair in ((gold, predicted), (gold, gold), (gold, f"{gold}.0"), (gold, f"{gold}1")):
        here, there = verdicts(kind, meta, *pair)
        assert here == there


@pytest.mark.parametrize("choices", [["1", "2"], ["B", "A", "b"], [str(k) for k in range(26)]])
def test_single_letters(choices: list[str]) -> None:
    decided = 0
    for gold in ascii_letters:
        for predicted in ascii_letters:
            here, there = verdicts("choice", {"choices": choices}, gold, predicted)
            assert here == there
            decided += here is not None
    assert decided == (2 * len(choices)) ** 2
