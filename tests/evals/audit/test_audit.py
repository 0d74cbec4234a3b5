"""Gold answers rewritten with known truth: no mistake of the grader, no answer dropped, no kind too common."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import pytest

from evals.audit.__main__ import SHARE, Pair, draw, every, graded, main, pairs
from evals.audit.kinds import KINDS, Kind
from evals.data.problems import Problem
from evals.graders.grading import Grader
from gsi_node.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]
OWN = [
    *("17", "-4", "2400", "0", r"\frac{7}{12}", r"-\frac{9}{5}", "0.375", "6.1e-8", r"14\%", r"65^\circ", r"\$27"),
    *(
        r"8\text{ cents}",
        r"21\mbox{ cm}^2",
        r"\text{north}",
        r"\text{(B)}",
        r"5 \sqrt{7}",
        r"x^{2}-3 x+4",
        r"\frac{a+b}{c}",
    ),
    *(r"e^{-k t} \sin (w t)", "y = 3x - 2", r"\left( 5, \frac{\pi}{4} \right)", "(2, 9]", r"(-\infty, 8)", "4,-3"),
    *(
        r"\begin{pmatrix} 2 \\ -7 \end{pmatrix}",
        "134_6",
        r"2 \pm \sqrt{3}",
        r"t \in [-3,8]",
        "7 - 2i",
        r"\frac{5}{8} \pi",
    ),
]
CHOICES = ["fern", "moss", "a kind of grass", "lichen"]
PROBLEMS = [Problem(f"own-{index}", "?", answer, "math") for index, answer in enumerate(OWN)] + [
    Problem(f"choice-{letter}", "?", letter, "choice", {"choices": CHOICES}) for letter in "ABCD"
]


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader(workers=2, seconds=60) as grader:
        yield grader


def mistakes(grader: Grader, made: Sequence[Pair]) -> list[Pair]:
    return [pair for pair in made if graded(grader, pair) != pair.equal]


def test_every_form_of_our_own_answers_is_graded_right(grader: Grader) -> None:
    made = [pair for seed in range(3) for pair in every(PROBLEMS, seed)]
    assert len({pair.kind for pair in made if pair.equal}) > 20
    assert len({pair.kind for pair in made if not pair.equal}) > 20
    assert mistakes(grader, made) == []


def test_no_answer_is_dropped_and_no_kind_too_common() -> None:
    made = list(pairs(PROBLEMS, seed=1))
    for equal in (True, False):
        half = [pair for pair in made if pair.equal == equal]
        assert Counter(pair.problem.id for pair in half) == Counter(problem.id for problem in PROBLEMS)
        assert max(Counter(pair.kind for pair in half).values()) * SHARE <= len(PROBLEMS)
    assert made == list(pairs(PROBLEMS, seed=1))


def test_an_answer_that_no_kind_rewrites_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evals.audit.__main__.KINDS", [Kind("never", True, lambda problem, random: None)])
    with pytest.raises(ConfigError, match="no kind rewrites the answer '17'"):
        list(pairs(PROBLEMS, seed=1))


def test_a_wrong_grader_is_found(grader: Grader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Grader, "grade", lambda self, problem, response: self_made(True))
    assert len(mistakes(grader, list(pairs(PROBLEMS, seed=1)))) == len(PROBLEMS)


def self_made(correct: bool | None) -> object:
    return type("Made", (), {"correct": correct})()


def test_kinds_are_named_once_and_draw_from_the_stream_they_are_given() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    for kind in KINDS:
        for problem in PROBLEMS:
            assert kind.rewrite(problem, Random(5)) == kind.rewrite(problem, Random(5))


def test_three_hundred_gold_answers_of_the_sets(grader: Grader) -> None:
    if not os.environ.get("GSI_DATA_DIR"):
        pytest.skip("needs data: set GSI_DATA_DIR to the folder with the five sets")
    problems = draw(300, seed=0)
    made = list(pairs(problems, seed=0))
    assert (len(problems), len(made)) == (300, 600)
    assert mistakes(grader, made) == []


def test_what_nobody_graded_is_no_mistake_and_a_broken_set_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("evals.audit.__main__.draw", lambda *about: PROBLEMS)
    monkeypatch.setattr(Grader, "grade", lambda self, problem, response: self_made(None))
    assert main(["--out", str(tmp_path / "pairs.jsonl")]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1].endswith(f" gold answers, 0 mistakes {{}}, {2 * len(PROBLEMS)} ungraded")
    assert said[0].startswith("ungraded ")
    (tmp_path / "gsm8k.jsonl").write_text("nonsense")
    command = [sys.executable, "-m", "evals.audit", "--data-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=ROOT, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(f"error: {tmp_path / 'gsm8k.jsonl'}, line 1: not JSON")
