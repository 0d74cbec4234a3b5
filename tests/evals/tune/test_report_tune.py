"""`evals tune`: thresholds from batches, a search whose runs answer to the threshold, and what it writes."""

from __future__ import annotations

import json
import math
import os
from argparse import ArgumentParser
from functools import partial
from pathlib import Path
from signal import SIGINT, SIGTERM
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.__main__ import main as evals
from evals.data.dropped import ComparedSet, Likeness, save
from evals.rows.lines import read_rows
from evals.rows.row import Row, StepRecord
from evals.run.how import How
from evals.run.plan import Plan
from evals.tune import command as tune
from evals.tune import trials
from evals.tune.thresholds import batches, clip, knobs, threshold
from gsi_node.core.accept import calibrate_threshold
from gsi_node.errors import BackendError, ConfigError
from tests.evals.synthetic import campaign, typed, write
from tests.evals.tables import LOAD, problems

finite = st.floats(-5, 5).map(lambda x: round(x, 2))


@given(st.lists(finite, min_size=1, max_size=40), st.floats(0, 0.99))
def test_the_quantile_refuses_the_wanted_share_as_nearly_as_ties_allow(values: list[float], share: float) -> None:
    values.sort()
    cut = calibrate_threshold(values, share)
    refused = sum(value < cut for value in values)
    possible = {sum(value < v for value in values) for v in [*values, math.inf]}
    place = round(share * len(values))
    assert refused == max(count for count in possible if count <= place) or place == len(values)


def test_a_batch_that_is_always_refused_counts() -> None:
    tested = [StepRecord(source="draft", tilted_reward=r) for r in (None, None, None, 0.1, 0.2, 0.5)]
    assert 0.1 < threshold("gsi", tested, 4 / 6) < 0.2
    assert threshold("gsi", tested, 0.5) == 0.1  # the three impossible ones already are half
    with pytest.raises(ConfigError, match=r"0.500 of the batches are always refused"):
        threshold("gsi", tested, 0.2)
    with pytest.raises(ConfigError, match="decided no step"):
        threshold("gsi", [], 0.2)


def test_log_c_accepts_the_wanted_share_on_average() -> None:
    logs = np.random.default_rng(0).normal(10, 4, 200)
    tested = [StepRecord(source="draft", log_mean_weight=float(value)) for value in logs]
    log_c = threshold("gsi-ic", tested, 0.3)
    assert np.minimum(1, np.exp(logs - log_c)).mean() == pytest.approx(0.7, abs=1e-9)


def test_the_clip_is_over_all_candidates_of_the_drafts_batches() -> None:
    rows = typed(campaign(6, ("gsi",), (4,), (0,)))
    ratios = sorted(
        one.log_ratio
        for r in rows
        for step in r.steps
        for one in (step.rejected or step).candidates or ()
        if one.log_ratio is not None
    )
    assert clip(batches(rows)) == ratios[math.ceil(0.95 * len(ratios)) - 1]
    with pytest.raises(ConfigError, match="kept no candidates"):
        clip([StepRecord(source="draft", log_ratio=1.0)])


class Runs:
    """Stands in for `execute`: rows whose drafts are accepted by the threshold, and get worse the more it accepts."""

    def __init__(self) -> None:
        self.plans: list[Plan] = []
        self.hows: list[How] = []

    def __call__(self, plan: Plan, folder: Path, how: How) -> list[Row]:
        self.plans.append(plan)
        self.hows.append(how)
        (method,), (n,) = plan.methods, plan.ns
        config = plan.config(method, n, 0)
        field = knobs()[method].field
        cut = config.resolved_log_c if field == "log_c" else getattr(config, field)
        made = list(campaign(len(plan.problems), ("gsi",), (n,), (0,)))
        rng = np.random.default_rng([n, plan.split == "heldout"])
        for one in made:
            one["method"] = method
            one["correct"] = bool(rng.random() < 0.5 + 0.05 * n)
            for step in one["steps"]:
                tilted = float(rng.normal(0.5 + 0.2 * (cut / 20 if field == "log_c" else cut), 0.3))
                told = {"tilted_reward": tilted, "reward": tilted, "log_mean_weight": 20 * tilted}
                refused = tilted < cut if field != "log_c" else np.log(rng.random()) > 20 * tilted - cut
                step.pop("rejected", None)
                step |= {**told, "accepted": not refused}
                if refused:
                    step |= {"rejected": dict(step)} | dict.fromkeys(told)
        return read_rows(write(folder, made))


def tuned(folder: Path, *options: str) -> int:
    parser = ArgumentParser()
    tune.add_arguments(parser)
    return tune.main(parser.parse_args(["--data", "pocket", "--limit", "60", "--out", str(folder), *options]))


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    fake = Runs()
    monkeypatch.setattr(trials, "execute", fake)
    return fake


@pytest.mark.parametrize(
    ("method", "field"), [("gsi", "threshold"), ("gsi-ic", "log_c"), ("rsd-n", "delta"), ("expgsi", "threshold")]
)
def test_the_share_is_reached_though_the_threshold_changes_the_steps(
    method: str, field: str, tmp_path: Path, runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--method", method, "--target-fallback", "0.25", "--rounds", "6", "--set", "temperature=0.6")
    assert tuned(tmp_path, *options) == 0
    told = json.loads((tmp_path / "tune.json").read_text("utf-8"))
    assert told["trials"][0]["fallback"]["value"] == pytest.approx(0.25, abs=0.02)
    assert method == "gsi-ic" or told["trials"][0]["runs"] > 1
    pasted = json.loads((tmp_path / "tuned.json").read_text("utf-8"))
    assert pasted["method"] == method and pasted["temperature"] == 0.6 and field in pasted
    assert ("log_ratio_clip" in pasted) == (method == "expgsi")
    assert runs.plans[-1].split == "heldout" and runs.plans[-1].fields[field] == pasted[field]
    assert {plan.split for plan in runs.plans[:-1]} == {"calibration"}
    assert all(plan.config(method, 4, 0).temperature == 0.6 for plan in runs.plans)
    assert "held-out interval" in capsys.readouterr().out


def test_the_most_accurate_within_the_budget_is_chosen(
    tmp_path: Path, runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tuned(tmp_path / "all", "--target-fallback", "0.3", "--n", "1,4,8") == 0
    made = json.loads((tmp_path / "all" / "tune.json").read_text("utf-8"))["trials"]
    middle = sorted(trial["flops"] for trial in made)[1]
    assert tuned(tmp_path / "b", "--target-fallback", "0.3", "--n", "1,4,8", "--budget-flops", str(middle)) == 0
    able = [trial for trial in made if trial["flops"] <= middle]
    best = max(able, key=lambda trial: (trial["accuracy"]["value"], -trial["flops"]))
    assert json.loads((tmp_path / "b" / "tuned.json").read_text("utf-8"))["n"] == best["fields"]["n"]
    capsys.readouterr()
    assert tuned(tmp_path / "c", "--budget-flops", "1", "--fallbacks", "0.3") == 1
    assert "no setting is within --budget-flops 1" in capsys.readouterr().err


def test_two_drafts_are_tuned_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--draft A*2 --draft B*1`, over table models: every run has both, and the threshold is that of their batches."""
    monkeypatch.setattr(trials, "How", partial(How, load=LOAD))
    parser = ArgumentParser()
    tune.add_arguments(parser)
    argv = ["--data", str(problems(tmp_path, 24)), "--draft", "table*2", "--draft", "other*1", "--n", "3"]
    argv += ["--betas", "4", "--target-fallback", "0.3", "--tolerance", "0.1", "--rounds", "2", "--limit", "8"]
    assert tune.main(parser.parse_args([*argv, "--out", str(tmp_path / "out")])) == 0
    told = json.loads((tmp_path / "out" / "tune.json").read_text("utf-8"))
    assert told["trials"][0]["fallback"]["value"] == pytest.approx(0.3, abs=0.2)
    folders = [path.parent for path in (tmp_path / "out").glob("*/config.json")]
    assert len(folders) >= 2
    for folder in folders:
        assert '"draft": "table*2 + other*1"' in (folder / "config.json").read_text("utf-8")
        for row in read_rows(folder):
            for step in row.steps:
                assert [one.draft for one in ((step.rejected or step).candidates or ())] == [0, 0, 1]
    assert tune.main(parser.parse_args([*argv, "--n", "1", "--out", str(tmp_path / "one")])) == 2
    assert "n: want at least 2, one candidate a draft, got 1" in capsys.readouterr().err


def test_what_a_reward_was_trained_on_is_left_out_of_both_splits(
    tmp_path: Path, runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    data, file = problems(tmp_path, 24), tmp_path / "overlap.json"
    ids = [json.loads(line)["id"] for line in data.read_text("utf-8").splitlines()]
    dropped = {name: Likeness(overlap=0.5, like="7") for name in ids[::3]}
    save({str(data): ComparedSet(kept=[name for name in ids if name not in dropped], dropped=dropped)}, file)
    argv = ("--data", str(data), "--target-fallback", "0.3", "--rounds", "1", "--threads", "2")
    assert tuned(tmp_path / "all", *argv) == 0
    assert tuned(tmp_path / "some", *argv, "--without", str(file)) == 0
    whole, left = ({one.id for plan in plans for one in plan.problems} for plans in (runs.plans[:2], runs.plans[2:]))
    assert whole == set(ids) and left == set(ids) - set(dropped)
    assert {plan.split for plan in runs.plans[2:]} == {"calibration", "heldout"}
    assert {how.threads for how in runs.hows} == {2}
    assert tuned(tmp_path / "none", *argv, "--without", str(tmp_path / "nowhere")) == 2
    assert "nowhere: cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "needs a goal"),
        (("--target-fallback", "1"), "want a share in [0, 1)"),
        (("--target-fallback", "0.2", "--rounds", "0"), "--rounds"),
    ],
)
def test_a_wrong_call_is_one_line(
    options: tuple[str, ...], message: str, tmp_path: Path, runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tuned(tmp_path, *options) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not runs.plans


def test_a_failed_run_stops_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for error, code in ((BackendError("all workers died"), 1), (ConfigError("no such model"), 2)):
        monkeypatch.setattr(trials, "execute", Mock(side_effect=error))
        assert tuned(tmp_path, "--target-fallback", "0.2") == code
        told = capsys.readouterr().err
        assert f"error: {error}\n" in told and "the same command goes on" in told
    for signal, code in ((SIGINT, 130), (SIGTERM, 143)):
        monkeypatch.setattr(trials, "execute", lambda *given, signal=signal: os.kill(os.getpid(), signal))
        assert tuned(tmp_path, "--target-fallback", "0.2") == code
        assert "interrupted; every finished row is kept. To go on:" in capsys.readouterr().err


def test_of_a_fallback_the_refused_batch_counts_and_not_the_bases() -> None:
    rows = typed(campaign(10, ("gsi",), (2,), (0,)))
    refused = [step for row in rows for step in row.steps if step.rejected is not None]
    assert refused
    only = rows[0].model_copy(update={"steps": refused})
    assert [batch.source for batch in batches([only])] == ["draft"] * len(refused)


def test_methods_are_set_to_one_share_with_a_learned_reward(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The shipped models: u, log c and δ, each found on the calibration split, refuse the same share of steps there."""
    common = ["--data", "pocket", "--limit", "6", "--n", "2", "--target-fallback", "0.3", "--tolerance", "0.06"]
    common += ["--rounds", "4", "--reward", "pocket", "--set", "max_steps=4", "--set", "max_step_tokens=24"]
    for method, field in (("gsi", "threshold"), ("gsi-ic", "log_c"), ("rsd-n", "delta")):
        out = tmp_path / method
        assert evals(["tune", "--method", method, *common, "--out", str(out)]) == 0
        trial = json.loads((out / "tune.json").read_text("utf-8"))["trials"][0]
        assert trial["fallback"]["value"] == pytest.approx(0.3, abs=0.06), method
        (chosen,) = out.glob(f"*-run{trial['runs']}")
        rows = read_rows(chosen)
        steps = [step for row in rows for step in row.steps]
        share = sum(step.rejected is not None for step in steps) / len(steps)
        assert share == pytest.approx(trial["fallback"]["value"])
        assert len({batch.reward for batch in batches(rows)}) > 8  # no rule's few values
        tuned_to = json.loads((out / "tuned.json").read_text("utf-8"))
        assert tuned_to[field] == trial["fields"][field] and len({row.problem_id for row in rows}) == 6
    capsys.readouterr()
