"""python -m evals train-reward on the shipped models: from problems to what load_reward and transformers read."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

from evals.__main__ import main as evals
from evals.report.cells import estimate
from evals.run import execute
from evals.train_reward import pipeline
from evals.train_reward.backbone import Backbone
from evals.train_reward.calibration import points
from evals.train_reward.gate import MAJORITY, gates
from evals.train_reward.judged import Judged
from evals.train_reward.states import STATES
from gsi_node import load_reward
from gsi_node.rewards.prm.in_process import TransformersPRM
from gsi_node.types import Ids, Prefix, Step

Capture = pytest.CaptureFixture[str]
Lines = list[dict[str, Any]]


def argv(out: Path, *more: str) -> list[str]:
    return [
        "train-reward",
        *("--model", "pocket:base", "--solvers", "pocket:draft,pocket:base", "--data", "pocket"),
        *("--data-dir", str(out.parent)),  # where no evaluation set is
        *("--limit", "60", "--data-seed", "3", "--samples", "2", "--layers", "2,3", "--out", str(out), *more),
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reward from the shipped models, made once."""
    out = tmp_path_factory.mktemp("train-reward") / "mine"
    assert evals(argv(out)) == 0
    return out


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    shutil.copytree(made, tmp_path / "mine")
    return tmp_path / "mine"


def judged(out: Path) -> Lines:
    return [json.loads(line) for line in (out / "training" / "judged.jsonl").read_text().splitlines()]


def texts(out: Path, line: dict[str, Any]) -> list[str]:
    """The steps of a judged response, from the run folders that it was sampled in."""
    for file in (out / "training" / "samples").glob(
        f"{'draft' if line['solver'] == 'draft' else 'base'}*/results.jsonl"
    ):
        for row in map(json.loads, file.read_text().splitlines()):
            if (row["problem_id"], row["seed"]) == (line["problem_id"], line["sample"]):
                return [step["text"] for step in row["steps"] if step["text"].strip()]
    raise AssertionError(line)


def said(reward: Any, problem: str, steps: list[str]) -> list[float]:
    made = [Step(text, (), 0.0, False) for text in steps]
    return [reward(Prefix(problem, tuple(made[:place])), [step])[0] for place, step in enumerate(made)]


def test_it_is_a_reward_that_agrees_with_the_training(made: Path) -> None:
    reward = load_reward(f"prm:{made}")
    assert isinstance(reward, TransformersPRM)
    assert reward.family.name == "trl-chat"
    asked = judged(made)[::17]
    assert len(asked) > 10
    for line in asked:
        assert said(reward, line["problem"], texts(made, line)) == pytest.approx(line["scores"], abs=2e-6)


def test_plain_transformers_loads_it(made: Path) -> None:
    model: Any = AutoModelForTokenClassification.from_pretrained(made).eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(made)
    line = judged(made)[0]
    reward: Any = load_reward(f"prm:{made}")
    steps = texts(made, line)
    prefix = Prefix(line["problem"], tuple(Step(text, (), 0.0, False) for text in steps))
    ids = reward.prefix_ids(prefix)
    marks = [place for place, token in enumerate(ids) if token == tokenizer.vocab[model.config.step_separator]]
    with torch.inference_mode():
        good = model(torch.tensor([ids])).logits.softmax(-1)[0, :, 1]
    assert good[marks[-len(steps) :]].tolist() == pytest.approx(line["scores"], abs=2e-6)


def test_every_split_has_its_own_kinds_and_the_draft_its_ratios(made: Path) -> None:
    lines = judged(made)
    kinds = {(line["template"], line["split"]) for line in lines}
    assert len(kinds) == len({template for template, _ in kinds})
    assert {split for _, split in kinds} == {"fit", "calibrate", "gate"}
    assert len({(line["problem_id"], line["solver"], line["sample"]) for line in lines}) == len(lines)
    for line in lines:
        told = line["solver"] == "draft" and line["split"] == "calibrate"
        assert (line["log_ratios"] is not None) == told
        if told:
            assert len(line["log_ratios"]) == len(line["scores"])
    assert {line["solver"] for line in lines} == {"draft", "base"}


def test_it_has_learned_something(made: Path) -> None:
    """Of what it was fitted to: across the few kinds of 60 problems nothing carries over, as the card says."""
    fit = [line for line in judged(made) if line["split"] == "fit"]
    right, wrong = (np.mean([line["scores"][-1] for line in fit if line["correct"] is good]) for good in (True, False))
    assert right > wrong + 0.02


def test_the_card_says_what_the_responses_say(made: Path, capsys: Capture) -> None:
    """Every table made anew from the judged responses; the files beside the card are read by what it names."""
    text = (made / "README.md").read_text()
    responses: dict[str, list[Judged]] = {"calibrate": [], "gate": [], "fit": []}
    for line in judged(made):
        fields = {name: line[name] for name in Judged.__dataclass_fields__}
        ratios = line["log_ratios"]
        fields |= {"scores": tuple(line["scores"]), "log_ratios": None if ratios is None else tuple(ratios)}
        responses[line["split"]].append(Judged(**fields))
    for one in gates({"this reward": responses["gate"]}, lambda _, first, second: first == second):
        every, early = (view["this reward"] for view in one.separations.values())
        for cell in (estimate(every.overall), estimate(early.within)):
            assert re.search(rf"\| +{re.escape(cell)} +\|", text)
        for name, by_n in one.accuracies.items():
            assert name == MAJORITY or estimate(by_n[2]) in text
    draft = [one for one in responses["calibrate"] if one.solver == "draft"]
    found = points(draft, 1)
    assert {point.method for point in found} == {"gsi", "rsd-n", "gsi-ic"}
    assert all(f"{point.field} = {point.value:.4f}" in text for point in found)
    assert load_reward(f"calibrated:prm:{made}?file={made / 'shift.json'}").range == (0.0, 1.0)
    run = ["run", "--data", "pocket", "--out", str(made / "run"), "--without", str(made / "overlap.json"), "--dry-run"]
    assert evals(run) == 2
    assert "knows nothing of pocket" in capsys.readouterr().err


def test_the_same_command_makes_nothing_again(copied: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {file: file.read_bytes() for file in copied.rglob("*") if file.is_file() and file.name != "README.md"}
    monkeypatch.setattr(pipeline, "Backbone", None)  # which nothing asks for
    assert evals(argv(copied)) == 0
    capsys.readouterr()
    assert {file: file.read_bytes() for file in before} == before


def test_what_is_lost_is_made_again_and_equal(copied: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["config.json", "model.safetensors", "training/head.safetensors", "training/judged.jsonl"]
    before = {name: (copied / name).read_bytes() for name in names}
    files = sorted((copied / "training" / STATES).iterdir())
    assert len(files) > 1
    read: list[Ids] = []
    states = Backbone.states

    def counted(self: Backbone, ids: Ids, ends: list[int]) -> Any:
        read.append(ids)
        return states(self, ids, ends)

    monkeypatch.setattr(Backbone, "states", counted)
    for name in names:
        (copied / name).unlink()
    files[0].unlink()
    assert evals(argv(copied)) == 0
    capsys.readouterr()
    assert 0 < len(read) <= 64  # one file's responses
    assert {name: (copied / name).read_bytes() for name in names} == before


def test_another_recipe_is_refused(copied: Path, capsys: Capture) -> None:
    assert evals([*argv(copied), "--rollouts", "2"]) == 2
    assert "was begun with another recipe (rollouts: 0 there, 2 here)" in capsys.readouterr().err


def test_pairs_are_fitted_to_responses_and_states_taken_over_from_another_folder(
    made: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As docs/train-reward.md has it: two folders are copied, and nothing in them is made again."""
    for name in ("samples", "states"):
        shutil.copytree(made / "training" / name, tmp_path / "mine" / "training" / name)
    monkeypatch.setattr(Backbone, "states", None)
    monkeypatch.setattr(execute, "_make", None)
    assert evals([*argv(tmp_path / "mine"), "--pairs"]) == 0
    told = capsys.readouterr()
    assert "was fitted to pairs of steps at one place of a right and of a wrong response of one solver" in told.out
    assert "%|" not in told.err  # no bars of transformers'
    first, second = judged(made), judged(tmp_path / "mine")
    assert [line["correct"] for line in first] == [line["correct"] for line in second]
    assert [line["scores"] for line in first] != [line["scores"] for line in second]


def test_pairs_and_rollouts_are_not_both(tmp_path: Path, capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        evals([*argv(tmp_path / "mine"), "--pairs", "--rollouts", "2"])
    assert "not allowed with argument --pairs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--model", "server:http://host/v1#m"], "its layers are read in this process"),
        (["--layers", "5"], "the model has 4 layers, and 5 of them cannot be kept"),
        (["--solvers", "pocket:draft,pocket:draft"], "names one twice"),
        (["--limit", "3"], "no kind may be in two of"),
        (["--set", "n=4"], "--set n: every solver writes single responses"),
        (["--set", "max_steps=0"], "max_steps"),
        (["--data", "rg:no_such"], "no generator 'no_such'"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_a_call_that_cannot_be_is_refused_before_anything_is_there(
    tmp_path: Path, capsys: Capture, more: list[str], told: str
) -> None:
    assert evals([*argv(tmp_path / "mine"), *more]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1
    assert not (tmp_path / "mine").exists()


def test_a_model_that_is_not_there_is_told(tmp_path: Path, capsys: Capture) -> None:
    assert evals([*argv(tmp_path / "mine"), "--model", f"hf:{tmp_path / 'nowhere'}"]) == 1
    assert "nowhere does not exist" in capsys.readouterr().err
    assert not (tmp_path / "mine").exists()


def test_nothing_is_written_over(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "model.safetensors").write_text("dear")
    assert evals(argv(tmp_path)) == 2
    assert "holds model.safetensors but no training/recipe.json" in capsys.readouterr().err
    assert (tmp_path / "model.safetensors").read_text() == "dear"
