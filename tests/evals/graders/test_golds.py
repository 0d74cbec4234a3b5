"""The five sets as found in GSI_DATA_DIR: how many problems they have, and that every gold answer equals itself."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from evals.data.problems import Problem
from evals.graders.golds import faults
from evals.graders.gradable import load_gradable as load
from evals.graders.grading import Grader
from gsi_node.errors import ConfigError

COUNTS = {"math500": 500, "olympiadbench": 675, "minerva_math": 272, "mmlu_stem": 3018, "gsm8k": 1319}
ONLY_AS_TEXT = {("olympiadbench", "$t(0,4]$")}
"""Listed with reasons in docs/evals.md."""


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader(workers=2, seconds=60) as grader:
        yield grader


@pytest.mark.parametrize("name", COUNTS)
def test_every_problem_is_there_and_every_gold_answer_equals_itself(grader: Grader, name: str) -> None:
    if not os.environ.get("GSI_DATA_DIR"):
        pytest.skip(f"{name} needs data: set GSI_DATA_DIR to the folder with {name}.jsonl")
    problems = load(name)
    assert len(problems) == len({problem.id for problem in problems}) == COUNTS[name]
    found = faults(grader, problems)
    assert [fault for fault in found if not fault.worded] == []
    assert {(name, fault.problem.answer) for fault in found} == {one for one in ONLY_AS_TEXT if one[0] == name}


def test_pocket(grader: Grader) -> None:
    assert faults(grader, load("pocket", size=2000)) == []


@pytest.mark.parametrize("spec", ["chain_sum", "simple_equations", "gcd", "fraction_simplification", "leg_counting"])
def test_reasoning_gym(grader: Grader, spec: str) -> None:
    problems = load(f"rg:{spec},size=4,seed=7")
    assert len(problems) == 4
    assert faults(grader, problems) == []


def test_faults_are_found(grader: Grader) -> None:
    """The check has teeth: an answer that nothing can read, a letter that is none, a fraction by zero."""
    unread = Problem("a", "?", r"\frac{1}{2", "math")
    letter = Problem("b", "?", "Z", "choice", {"choices": ["x", "y"]})
    zero = Problem("c", "?", "1/0", "exact")
    found = faults(grader, [unread, letter, zero])
    assert [(fault.problem.id, fault.worded) for fault in found] == [("a", False), ("b", False), ("c", False)]


def test_a_missing_set_names_both_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GSI_DATA_DIR", raising=False)
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(ConfigError, match=r"neither --data-dir nor GSI_DATA_DIR.*on the hub.*pip install"):
        load("math500")
