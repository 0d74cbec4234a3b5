"""Adding a method is a row, adding a setting a field: each put into one file of a copy of the tree, used everywhere.

The method is what went wrong when it was tried on version 0.1.0: another ratio, a coin for an acceptance, a scan.
"""

from __future__ import annotations

import filecmp
import itertools
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evals.report.arms import Arm
from evals.report.look import look
from evals.tune.thresholds import knobs
from gsi_node import Models, compile_gsi, exact_step_law, solve
from gsi_node.cli.__main__ import main
from gsi_node.step.methods import METHODS, Method, notes
from gsi_node.step.rules import ARGMAX, EXPONENTIAL, SOFTMAX, TILTED_REWARD_REACHES_U, Accept, Weigh
from tests import oracles
from tests.docs import generated
from tests.graph.test_node import BASE, DRAFT, REWARD
from tests.graph.world import config, environment, models, plain
from tests.graphs.tables import command

ROOT = Path(__file__).resolve().parents[1]
Capture = pytest.CaptureFixture[str]


def half_ratio(batch: Any, settings: Any) -> Any:
    """β r + ℓ/2, where that half is at most 0.5."""
    return settings.beta * batch.rewards + np.minimum(0.5 * batch.log_ratios, 0.5)


def base_score(batch: Any, settings: Any) -> Any:
    """log π_B."""
    return batch.scores


HALF_RATIO = Weigh(
    compute=half_ratio,
    shown="β·r + ℓ/2",
    needs=frozenset(("reward", "ratio")),
    reads=("beta",),
    bound=lambda most, settings: settings.beta * most + 0.5,
)
COIN = Accept(
    compute=lambda batch, chosen, settings: math.log(0.5),
    shown="a coin says so",
    refusal=lambda record, settings: "the coin said no",
)


@pytest.fixture(autouse=True)
def added(monkeypatch: pytest.MonkeyPatch) -> None:
    base = METHODS["sbon-base"]
    for method in (
        Method("coined", "draft", HALF_RATIO, EXPONENTIAL, COIN, base, source="nobody"),
        Method("halved", "draft", HALF_RATIO, SOFTMAX, TILTED_REWARD_REACHES_U, base),
    ):
        monkeypatch.setitem(METHODS, method.name, method)


def test_its_law_is_its_closed_form() -> None:
    """Half of the noisy maximum of a scan, half of soft best-of-n from the base."""
    beta, n = 4.0, 3
    log_w = {t: beta * REWARD[t] + min(0.5 * math.log(BASE[t] / DRAFT[t]), 0.5) for t in DRAFT}
    kept = dict.fromkeys(DRAFT, 0.0)
    for batch in itertools.product(DRAFT, repeat=n):
        mass = math.prod(DRAFT[text] for text in batch)
        for text, wins in zip(batch, oracles.noisy_max_choice([log_w[t] for t in batch]), strict=True):
            kept[text] += mass * wins
    numbers: dict[str, Any] = {"n": n, "m": n, "beta": beta, "u": 0.6, "delta": 0.7, "log_c": 0.0}
    soft = oracles.step_law("sbon-base", DRAFT, BASE, REWARD, **numbers)
    for chunk_size in (1, 2, 3):
        settings = config(n=n, beta=beta, chunk_size=chunk_size)
        law = exact_step_law("coined", draft=DRAFT, base=BASE, reward=REWARD, config=settings)
        assert law == pytest.approx({t: 0.5 * kept[t] + 0.5 * soft[t] for t in DRAFT}, abs=1e-12)


@pytest.mark.parametrize("method", ["coined", "halved"])
def test_the_node_and_the_loop_run_it(method: str) -> None:
    settings = config(method=method, n=4, chunk_size=1)
    out = plain(compile_gsi(**models(), config=settings).invoke({"problem": "p"}))
    found = solve("p", Models(**models()), settings)
    assert [step["token_ids"] for step in found.steps] == [step["token_ids"] for step in out["steps"]]
    assert found.steps == out["steps"] and set(out["usage"]) == {"draft", "base", "reward"}
    batches = [step.get("rejected") or step for step in out["steps"]]
    assert all(batch["log_ratio"] is not None for batch in batches)
    assert all(("scan" in batch) == (method == "coined") for batch in batches)
    assert {step["accepted"] for step in out["steps"]} == {True, False}


def test_the_solvers_page_says_why(capsys: Capture) -> None:
    options = ["--n", "3", "--beta", "4"]
    assert command([*options, "--method", "coined", "two"]) == 0
    page = capsys.readouterr().out
    assert "refused: the coin said no · r̃ " in page and "< u" not in page
    assert command([*options, "--method", "halved", "--threshold", "0.6", "two"]) == 0
    assert "refused: r̃ " in capsys.readouterr().out


def test_lists_tables_plots_and_tune_have_it(capsys: Capture) -> None:
    assert main(["methods"]) == 0
    told = capsys.readouterr().out
    assert "coined" in told and "β·r + ℓ/2 +" in told and "a coin says" in told
    assert any(line.startswith("expgsi, coined") or "coined" in line for line in notes())
    assert "| `coined` | n of draft | β·r + ℓ/2 + Exp(1), first hit | a coin says so | sbon-base | nobody |\n" in (
        generated.methods()
    )
    looks = {name: look(name) for name in METHODS}
    assert len({(one.colour, one.marker, one.line) for one in looks.values()}) == len(looks)
    assert [Arm("d", name, 4, 0.7).order[1] for name in METHODS] == list(range(len(METHODS)))
    assert "coined" not in knobs() and knobs()["halved"].field == "threshold"


def test_one_that_asks_the_base_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rule needs π_B's scores and no reward: nobody is asked for one, in the graph and the loop alike."""
    rule = Weigh(compute=base_score, shown="log π_base", needs=frozenset(("score",)), importance=False)
    monkeypatch.setitem(METHODS, "likeliest", Method("likeliest", "draft", rule, ARGMAX))
    settings = config(method="likeliest", record="candidates")
    out = plain(compile_gsi(**models(), config=settings).invoke({"problem": "p"}))
    assert set(out["usage"]) == {"draft", "base"} and solve("p", Models(**models()), settings).steps == out["steps"]
    for step in out["steps"]:
        assert step["log_prob_base"] == max(one["log_prob_base"] for one in step["candidates"])
        assert step["reward"] is step["tilted_reward"] is step["ess"] is None


# --- in a copy of the tree, each change in one file -----------------------------------------------------------------

ROW = """
METHODS["halved"] = Method(
    "halved",
    "draft",
    Weigh(
        compute=lambda batch, settings: settings.beta * batch.rewards + 0.5 * batch.log_ratios,
        shown="β·r + ℓ/2",
        needs=frozenset(("reward", "ratio")),
        reads=("beta",),
    ),
    SOFTMAX,
    TILTED_REWARD_REACHES_U,
    _SBON_BASE,
)
"""
FIELD = """    mood: Annotated[Literal["calm", "wild"], About("how it feels")] = "calm"

    @property
    def resolved_log_c"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree of links to this one, but for the files of gsi_node/step, which are copies."""
    copy = tmp_path / "tree"
    (copy / "gsi_node" / "step").mkdir(parents=True)
    for name in ("evals", "graphs", "tests"):
        (copy / name).symlink_to(ROOT / name)
    for entry in (ROOT / "gsi_node").iterdir():
        if entry.name not in ("step", "__pycache__"):
            (copy / "gsi_node" / entry.name).symlink_to(entry)
    for file in (ROOT / "gsi_node" / "step").glob("*.py"):
        (copy / "gsi_node" / "step" / file.name).write_bytes(file.read_bytes())
    return copy


def touched(tree: Path) -> list[str]:
    """The files of the copy that differ."""
    step = ROOT / "gsi_node" / "step"
    return [f.name for f in step.glob("*.py") if not filecmp.cmp(f, tree / "gsi_node" / "step" / f.name, shallow=False)]


def run(tree: Path, *argv: str, code: int = 0) -> str:
    """What a command of the copy says, on both streams."""
    own = {**environment(), "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *argv], cwd=tree, env=own, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_a_method_is_one_row_in_one_file(tree: Path) -> None:
    file = tree / "gsi_node" / "step" / "methods.py"
    file.write_text(file.read_text("utf-8") + ROW, "utf-8")
    assert touched(tree) == ["methods.py"]
    assert "halved" in run(tree, "-m", "gsi_node.cli", "methods")
    os.symlink(ROOT / "README.md", tree / "README.md")
    data = tree / "problems.jsonl"
    data.write_text("".join(f'{{"id": "p{i}", "problem": "problem {i}.", "answer": "7"}}\n' for i in (1, 2)))
    run(tree, "-m", "tests.evals.tables", "--data", str(data), "--methods", "gsi,halved", "--n", "2", "--out", "run")
    told = run(tree, "-m", "evals", "report", "run")
    assert "halved, n = 2" in told
    assert (tree / "run" / "report" / "plots" / "accuracy.svg").is_file()
    search = ("--method", "halved", "--target-fallback", "0.3", "--rounds", "1", "--n", "2", "--limit", "2")
    short = ("--set", "max_steps=2", "--set", "max_step_tokens=12")
    run(tree, "-m", "evals", "tune", "--data", "pocket", *search, *short, "--out", "tuned")
    assert "threshold" in json.loads((tree / "tuned" / "tuned.json").read_text("utf-8"))


def test_a_setting_is_one_field_in_one_file(tree: Path) -> None:
    file = tree / "gsi_node" / "step" / "fields.py"
    file.write_text(file.read_text("utf-8").replace("    @property\n    def resolved_log_c", FIELD), "utf-8")
    assert touched(tree) == ["fields.py"]
    assert "mood                how it feels (default calm)" in run(tree, "-m", "gsi_node.cli", "solve", "--help")
    (tree / "mood.toml").write_text('mood = "wild"\n')
    ask = "from gsi_node import GSIConfig, GSIContext; print(GSIConfig().mood, GSIContext(mood='wild').mood)"
    assert run(tree, "-c", ask) == "calm wild\n"
    for command_ in (["solve", "--config", "mood.toml", "--set", "mood=odd", "p"], ["doctor", "--set", "mood=odd"]):
        assert "error: mood: input should be 'calm' or 'wild', got 'odd'" in run(
            tree, "-m", "gsi_node.cli", *command_, code=2
        )
    solved = ("--method", "draft", "--config", "mood.toml", "--set", "max_steps=1", "--json")
    assert json.loads(run(tree, "-m", "gsi_node.cli", "solve", *solved, "2 + 2"))["steps"]
