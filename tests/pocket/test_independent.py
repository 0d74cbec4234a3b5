"""Public generators ask questions in our world, and their own graders accept our answers."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from gsi_node.answer import last_boxed
from gsi_node.pocket.training.independent import SETTINGS, recognise
from gsi_node.pocket.world.problems import FAMILIES, first_error, problems


def gym() -> Any:
    try:
        return importlib.import_module("reasoning_gym")
    except ModuleNotFoundError:
        pytest.skip("reasoning-gym is not installed: pip install reasoning-gym")


def test_at_least_four_families_have_a_public_phrasing() -> None:
    exact = {problem.family for problem in problems("train", 0, 3000) if recognise(problem.problem) is not None}
    assert len(exact) >= 4
    assert exact <= set(FAMILIES)


@pytest.mark.parametrize("name", SETTINGS)
def test_what_the_generator_asks_is_covered_and_its_grader_accepts_our_solution(name: str) -> None:
    data = gym().create_dataset(name, seed=3, size=300, **SETTINGS[name])
    for entry in data:
        problem = recognise(entry["question"])
        assert problem is not None, entry["question"]
        assert first_error(problem, problem.solution) is None
        assert problem.problem == entry["question"]
        assert data.score_answer(last_boxed(problem.solution[-1]), entry) == 1.0, (entry, problem.solution)


def test_recognised_questions_of_our_own_have_our_answer_and_key() -> None:
    found = 0
    for problem in problems("train", 4, 3000):
        other = recognise(problem.problem)
        if other is not None:
            assert (other.answer, other.key, other.alternatives) == (problem.answer, problem.key, problem.alternatives)
            found += 1
    assert found > 300


@pytest.mark.parametrize("question", ["What is love?", "Solve for x: 3*y + 2 = 8", "Solve for x: 3*x + 2 = 9"])
def test_other_questions_are_not_recognised(question: str) -> None:
    assert recognise(question) is None
