"""The card: everything that is known of a training stands on it, and the files that it names are there and are read."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from evals.data.dropped import without
from evals.data.problems import Problem
from evals.report.cells import estimate
from evals.report.reliability import LabelledReward, calibration_error
from evals.train_reward.calibration import points
from evals.train_reward.card import Evidence, write_card
from evals.train_reward.gate import gates, tables
from evals.train_reward.judged import Judged, TrainingFacts, TriedHead
from evals.train_reward.leakage import leakage
from gsi_node import load_reward
from gsi_node.errors import ConfigError
from tests.evals.train_reward.made import bank

FACTS = TrainingFacts(
    command="python -m evals train-reward --model hf:models/base --out rewards/mine",
    model="hf:models/base?dtype=bfloat16",
    dtype="bfloat16",
    layers=14,
    of_layers=24,
    separator="\n\n",
    solvers={"draft": "hf:models/draft", "base": "hf:models/base"},
    samples=8,
    data=("rg:gsm_symbolic,size=200", "rg:chain_sum"),
    checksums={"model": "c0ffee", "draft": "d00d", "problems": "feed", "head": "abad1dea"},
    templates={"fit": 61, "calibrate": 21, "gate": 19},
    problems={"fit": 611, "calibrate": 211, "gate": 191},
    responses={"fit": 9777, "calibrate": 3377, "gate": 3057},
    left_out={"ungraded": 3, "empty": 17},
    strength=0.03125,
    tried=(TriedHead(12, 0.1, 0.5432, 0.7654), TriedHead(14, 0.03125, 0.5321, 0.7777)),
    slope=1.2345,
    offset=-0.4321,
    rollouts=0,
    pairs=False,
    version="0.1.0",
    commit="cafe42",
    machine="a machine",
    date="2026-11-30T19:00:00+00:00",
)
TRAINING = [
    Problem("t-1", "Maria bakes 24 muffins and sells 18 of them for $3 each. How much money has she?", "54", "math")
]


def same(one: Judged, first: str, second: str) -> bool:
    return first == second


@pytest.fixture(scope="module")
def judged() -> tuple[list[Judged], list[Judged]]:
    """Of the calibrate and of the gate split, by both solvers."""
    rng = np.random.default_rng(0)
    made = [[*bank(rng, 25, 4), *bank(rng, 25, 4, apart=2.0, solver="base")] for _ in range(2)]
    return made[0], made[1]


def test_all_that_is_known_stands_on_it(judged: tuple[list[Judged], list[Judged]], tmp_path: Path) -> None:
    calibrate, gate = judged
    mine = tmp_path / "mine.jsonl"
    mine.write_text(
        '{"id": "a", "problem": "Oskar bakes 9 muffins and sells 7 of them for $2 each. How much money has she?", '
        '"answer": 14}\n'
        '{"id": "b", "problem": "A train goes 60 miles an hour. How far is it after two?", "answer": 120}\n'
    )
    reward = load_reward("pocket")
    rewards = {"this reward": gate, "verifier": [replace(one, scores=(0.5,) * len(one.scores)) for one in gate]}
    found = leakage(TRAINING, [str(mine)], tmp_path)
    text = write_card(tmp_path, FACTS, Evidence(calibrate, rewards, same, found, reward.fingerprint))
    assert text == (tmp_path / "README.md").read_text()
    for field in fields(FACTS):
        told = getattr(FACTS, field.name)
        values = told.values() if isinstance(told, dict) else told if isinstance(told, tuple) else [told]
        for value in values:
            shown = [f"{value.log_loss:.4f}", f"{value.auroc:.3f}"] if isinstance(value, TriedHead) else [str(value)]
            assert field.name in ("separator", "rollouts", "pairs") or all(one.lstrip("-") in text for one in shown), (
                field.name
            )
    for one in gates(rewards, same):
        assert one.verdict in text and all(table.markdown() in text for table in tables(one))
    steps = [
        LabelledReward(one.problem_id, "draft", s, one.correct)
        for one in gate
        if one.solver == "draft"
        for s in one.scores
    ]
    assert estimate(calibration_error(steps).ece) in text
    for point in points([one for one in calibrate if one.solver == "draft"], 4):
        assert f"{point.field} = {point.value:.4f}" in text and estimate(point.share) in text
    assert "Not at hand, so not compared: math500, olympiadbench, minerva_math, mmlu_stem, gsm8k." in text
    assert (tmp_path / "reliability.png").read_bytes().startswith(b"\x89PNG")
    loaded = load_reward(f"calibrated:pocket?file={tmp_path / 'shift.json'}")
    assert loaded.range == (0.0, 1.0)
    problems = [Problem(id, "?", "1", "math") for id in "ab"]
    assert [one.id for one in without(problems, str(mine), tmp_path / "overlap.json")] == ["b"]
    (line,) = [line.split("|") for line in text.splitlines() if "a: 1.00 with t-1" in line]
    assert [cell.strip() for cell in line[2:4]] == ["2", "1"]


def test_named_sets_that_are_at_hand_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k" / "test.jsonl").write_text(
        '{"question": "Li Wei bakes 1,000 muffins and sells 18 of them for $9 each. How much money has she?", '
        '"answer": "#### 162"}\n'
    )
    monkeypatch.setenv("GSI_DATA_DIR", str(tmp_path))
    found = leakage(TRAINING, [], None)
    assert list(found.sets) == ["gsm8k"] and len(found.sets["gsm8k"].dropped) == 1 and not found.sets["gsm8k"].kept
    assert found.missing == ["math500", "olympiadbench", "minerva_math", "mmlu_stem"]
    with pytest.raises(ConfigError, match="no set 'gsm9k'"):
        leakage(TRAINING, ["gsm9k"], None)
