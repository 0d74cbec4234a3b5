"""`evals verifiers` as people call it: AUROC of rewards over a run's responses, clustered, with costs, resumable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from evals.__main__ import main as evals
from evals.report import stats
from evals.report.cells import estimate
from evals.rows.lines import read_rows
from evals.rows.verdicts import VERDICTS, read_verdicts
from gsi_node import load_reward
from gsi_node.types import Prefix, Step
from tests.evals.synthetic import campaign, failed, write
from tests.rewards.verifier_models import LAWS, tabled

Numbers = NDArray[Any]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = list(campaign(6, ("sbon-base",), (1,), (0, 1, 2)))
    return write(tmp_path_factory.mktemp("runs") / "responses", [*rows[:-1], failed(rows[-1])])


def cells(printed: str, spec: str) -> list[str]:
    (line,) = [line for line in printed.splitlines() if line.startswith(f"| {spec}")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_table_is_that_of_the_rewards_and_grades(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    laws = {**LAWS["yesno"], "\n": {"y": 0.5, "x": 0.5}}  # x: no verdict
    spec = f"generative:hf:{tabled(tmp_path / 'verifier', laws)}@yesno?chains=2&max_tokens=16"
    assert evals(["verifiers", str(folder), "--reward", "verifier", "--reward", spec, "--concurrency", "4"]) == 0
    printed = capsys.readouterr().out
    rows = [row for row in read_rows(folder) if row.error is None]
    assert len(rows) == 17
    reward = load_reward("verifier")
    values = [reward(Prefix(row.problem), [Step(row.response, (), 0.0, True)])[0] for row in rows]
    found = stats.clustered_auroc(values, [row.correct is True for row in rows], [row.problem_id for row in rows])
    rule, writes = cells(printed, "verifier"), cells(printed, "generative:")
    assert rule[1] == writes[1] == "17" and rule[3] == estimate(found)
    assert rule[4:7] == ["0", "–", "–"]
    lines = [one for one in read_verdicts(folder).values() if one.chains]
    nothing = sum(one.value is None for one in lines)
    assert len(lines) == 17 and 0 < nothing < 17 and writes[4] == str(nothing)
    assert all((one.value is None) == (one.without_verdict == one.chains == 2) for one in lines)
    assert writes[6] == f"{sum(one.without_verdict for one in lines) / 34:.3f}"
    assert writes[5] == f"{sum(one.written_tokens for one in lines) / 17:.0f}"
    assert float(writes[7]) > float(rule[7]) >= 0.0
    assert writes[3].startswith("0.500 [")  # it says one thing of all that it says anything of


def test_it_goes_on_and_asks_nothing_twice(
    folder: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = write(tmp_path / "responses", list(campaign(4, ("sbon-base",), (1,), (0, 1))))
    argv = ["verifiers", str(own), "--reward", "verifier", "--concurrency", "3"]
    assert evals(argv) == 0
    whole, file = capsys.readouterr().out, own / VERDICTS
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:5]) + lines[5][:40])  # as a kill leaves it
    asked: list[str] = []

    class Counting:
        def __init__(self) -> None:
            self.inner = load_reward("verifier")
            self.range, self.fingerprint = self.inner.range, self.inner.fingerprint

        def __call__(self, prefix: Prefix, steps: list[Step]) -> list[float]:
            asked.append(prefix.problem)
            return self.inner(prefix, steps)

    monkeypatch.setattr("evals.report.verifiers.load_reward", lambda spec: Counting())
    assert evals(argv) == 0
    again = capsys.readouterr().out
    assert len(asked) == len(lines) - 5
    assert cells(again, "verifier")[:5] == cells(whole, "verifier")[:5]
    assert file.read_bytes().count(b"\n") == len(lines)
    assert evals(argv) == 0 and len(asked) == len(lines) - 5


def test_refusals(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    empty = write(tmp_path / "failed", [failed(one) for one in campaign(2, ("sbon-base",), (1,), (0,))])
    other = write(tmp_path / "other", list(campaign(2, ("sbon-base",), (1,), (0,))))
    (other / VERDICTS).write_bytes(b'{"schema": 1, "reward": 3}\n')
    for argv, told in [
        ([str(tmp_path / "none"), "--reward", "verifier"], "no run folder"),
        ([str(empty), "--reward", "verifier"], "no response in it is graded"),
        ([str(other), "--reward", "verifier"], "line 1: not a verdict"),
        ([str(folder), "--reward", "verifyer"], "is verifier meant"),
    ]:
        assert evals(["verifiers", *argv]) == 2
        assert told in capsys.readouterr().err


def by_hand(scores: Numbers, good: Numbers, clusters: Numbers) -> tuple[float, float]:
    """(A, Var A) by Obuchowski's sums S10/M + S01/N + 2 S11/(MN), pair by pair; all with G/(G − 1)."""
    m, n, names = int(good.sum()), int((~good).sum()), sorted(set(clusters))
    wins = {
        (i, j): 1.0 if scores[i] > scores[j] else 0.5 if scores[i] == scores[j] else 0.0
        for i in np.flatnonzero(good)
        for j in np.flatnonzero(~good)
    }
    area = sum(wins.values()) / (m * n)
    ten = one = both = 0.0
    for name in names:
        inside = set(np.flatnonzero(clusters == name))
        x = sum(sum(w for (a, _), w in wins.items() if a == i) / n - area for i in inside if good[i])
        y = sum(sum(w for (_, b), w in wins.items() if b == j) / m - area for j in inside if not good[j])
        ten, one, both = ten + x * x, one + y * y, both + x * y
    g = len(names)
    return area, g / (g - 1) * (ten / m**2 + one / n**2 + 2 * both / (m * n))


def drawn(rng: np.random.Generator, problems: int, each: int, apart: float) -> tuple[Numbers, Numbers, Numbers]:
    """Scores, grades and problems; scores of one problem are alike, whatever the grade."""
    clusters = np.repeat(np.arange(problems), each)
    hard = rng.normal(0, 1, problems)[clusters]
    good = rng.random(len(clusters)) < 1 / (1 + np.exp(-1.5 * rng.normal(0, 1, problems)[clusters]))
    return apart * good + hard + rng.normal(0, 0.7, len(clusters)), good, clusters


def test_clustered_auroc_is_that_of_pairs() -> None:
    rng = np.random.default_rng(0)
    for _ in range(3):
        scores, good, clusters = drawn(rng, 8, 4, 1.0)
        scores = scores.round(1)  # ties
        found = stats.clustered_auroc(scores, good, [str(c) for c in clusters])
        assert found is not None
        area, variance = by_hand(scores, good, clusters)
        assert found.value == pytest.approx(area) and found.se == pytest.approx(np.sqrt(variance))
        assert found.low < area < found.high and (found.clusters, found.rows) == (8, 32)
    assert stats.clustered_auroc([1.0, 2.0], [True, True], ["a", "b"]) is None
    perfect = stats.clustered_auroc([1.0, 2.0, 1.0, 2.0], [False, True, False, True], ["a", "a", "b", "b"])
    assert perfect is not None and perfect.value == perfect.high == 1.0 and perfect.low < 0.9


def test_its_interval_covers_and_one_without_clusters_does_not() -> None:
    rng, apart, repeats = np.random.default_rng(1), 1.0, 600
    truth = float(scipy_stats.norm.cdf(apart / np.sqrt(2 * (1 + 0.49))))  # across problems, as nearly all pairs are
    covered = naive = 0
    for _ in range(repeats):
        scores, good, clusters = drawn(rng, 25, 8, apart)
        found = stats.clustered_auroc(scores, good, [str(c) for c in clusters])
        lone = stats.clustered_auroc(scores, good, [str(i) for i in range(len(scores))])
        assert found is not None and lone is not None
        covered += found.low <= truth <= found.high
        naive += lone.low <= truth <= lone.high
    assert 0.92 <= covered / repeats <= 0.98
    assert naive / repeats < 0.88
