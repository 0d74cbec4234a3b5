"""The benchmark's own arithmetic (its figures are printed, not tested)."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from gsi_node.cli.__main__ import main
from gsi_node.errors import ConfigError, SpecError
from gsi_node.specs.load import load_model
from gsi_node.step.config import GSIConfig
from gsi_node.tables.rewards import TableReward
from gsi_node.tools import bench_draw, bench_tree, between
from gsi_node.tools.bench import graph_microseconds
from gsi_node.tools.obvious import ObviousGSI
from gsi_node.tools.timing import covered
from gsi_node.types import Ends, Key, Prefix, SamplingLaw, Step
from tests.graph.early import is_early


def test_union_counts_overlaps_once() -> None:
    assert covered([]) == 0.0
    assert covered([(3.0, 4.0), (0.0, 1.0), (0.5, 2.0), (0.6, 0.7)]) == pytest.approx(3.0)


def test_forwards_are_counted_by_their_shapes() -> None:
    model: Any = load_model("pocket:draft")
    law = SamplingLaw(max_step_tokens=4, ends=Ends(()), eos_ids=())
    prefix = Prefix("What is 12 * (7 + 5)?")
    with between.metered([model]) as meters:
        model.sample(prefix, 1, Key(0, "b", 0, "draft"), law)
    [(module, meter)] = meters.items()
    prompt = len(model.prefix_ids(prefix)) - 1
    assert meter.shapes == {(prompt, 1): 1, (1, 1): 4}
    assert 0.0 < between.products_seconds(meters) < 10 * meter.seconds
    model.sample(prefix, 1, Key(1, "b", 0, "draft"), law)
    assert meter.shapes.total() == 5  # the context is over
    config: Any = module.config
    layers: list[Any] = [layer for layer in module.modules() if between.is_linear(layer)]
    own = config.hidden_size * (4 * config.hidden_size + 3 * config.intermediate_size)
    products = config.num_hidden_layers * own + config.hidden_size * config.vocab_size
    assert sum(layer.weight.numel() for layer in layers) == products


def test_the_table_tells_what_stands_between_forwards(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--quick", "--repeats", "1", "--n", "2"]) == 0
    told = " ".join(re.sub("[│┃]", " ", capsys.readouterr().out).split())
    rates = re.findall(r"tokens a CPU second, (1|16) at a.*? (\d+) \((\d+) tokens, [\d.]+ s\)", told)
    assert [at_once for at_once, _, _ in rates] == ["1", "16"]
    assert rates[0][2] == rates[1][2]  # the same runs
    [(early, late)] = re.findall(r"CPU ms of step 5.*?([\d.]+), .*?CPU ms of step 30.*?([\d.]+), ", told)
    [ratio] = re.findall(r"ratio of step 30 to step 5 ([\d.]+)", told)
    assert float(ratio) == pytest.approx(float(late) / float(early), rel=0.02)


def test_a_step_that_ends_the_response_has_no_reward_there() -> None:
    steps = [Step("a", (1,), 0.0, False), Step("b", (2,), 0.0, True)]
    assert between.GoesOn(TableReward({"a": 0.5, "b": 0.9}))(Prefix("p"), steps) == [0.5, 0.0]


def test_the_graph_is_timed_in_microseconds() -> None:
    assert 1.0 < graph_microseconds(5, 1) < 1e6


def test_the_obvious_way_is_gsi_too() -> None:
    """The yardstick of --engines: on one candidate its log-probabilities are the engine's, its steps are steps."""
    model: Any = load_model("pocket:draft")
    obvious = ObviousGSI(GSIConfig(n=4, max_step_tokens=24), list(model.step_ends(SamplingLaw()).sure_ids), "cpu")
    step = obvious.step("What is 12 * (7 + 5)?", "", 0)
    assert step.strip()
    prefix = Prefix("What is 12 * (7 + 5)?")
    law = SamplingLaw(max_step_tokens=24)
    drawn = model.sample(prefix, 1, Key(0, "b", 0, "draft"), law)[0]
    prompt = obvious._ids(prefix.problem, "")
    assert tuple(prompt[0].tolist()) == model.prefix_ids(prefix)
    rows = torch.cat((prompt, torch.tensor([drawn.token_ids])), dim=1)
    with torch.no_grad():
        assert float(obvious._log_probs(obvious.draft, rows, prompt)) == pytest.approx(drawn.log_prob, abs=1e-3)


def test_a_draw_is_timed_beside_its_forward(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--draws", "--repeats", "1"]) == 0
    told = capsys.readouterr().out
    assert "718 ids" in told
    rows = re.findall(r"^. (\d+) +. [\d.]+ +. [\d.]+ +. [\d.]+ ", told, re.MULTILINE)
    assert rows == ["16", "32", "64", "96"]
    with pytest.raises(SpecError, match="only a model in process can be timed"):
        bench_draw.table(object(), 1)


def test_a_tree_is_compared_with_a_row_each(capsys: pytest.CaptureFixture[str]) -> None:
    """In float64 without a flip."""
    assert main(["bench", "--tree", "1", "--draft", "pocket:draft?dtype=float64"]) == 0
    told = capsys.readouterr().out
    row = r"^. (\d+) +. (\d+) +. (\d+) +. [\d.]+ +. [\d.]+ +. [\d.]+ +. 0 of \d+ +. \d+e-1\d "
    found = [tuple(map(int, cells)) for cells in re.findall(row, told, re.MULTILINE)]
    assert [n for n, _, _ in found] == [4, 16, 64]
    assert all(fed < tokens for _, tokens, fed in found)
    with pytest.raises(SpecError, match="only a model in process draws a tree"):
        bench_tree.table(object(), 1)


def test_mistakes_are_typed() -> None:
    for given in (["--set", "n"], ["--n", "0"], ["--problems", "x"], ["--problems", "-1"], ["--rewards", "--engines"]):
        with pytest.raises(SystemExit, match="2"):
            main(["bench", *given])
    for field, told in (("betta=1", "no field 'betta'"), ("n=0", "n: input"), ("beta=nan", "beta: input")):
        with pytest.raises(ConfigError, match=told):
            main(["bench", "--set", field])
    with pytest.raises(SpecError, match="only a model in process can be timed"):
        main(["bench", "--reward", "verifier"])


def test_what_looking_ahead_is_worth(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every draft is counted, guessed or not; with a reward that takes long, most of the likely choices are right."""
    monkeypatch.setenv("COLUMNS", "160")
    sets = ["--set", "max_steps=4", "--set", "max_step_tokens=16", "--set", "threshold=-9"]
    assert main(["bench", "--lookahead", "2", "--size", "1", "--delay", "0.2", "--n", "2", *sets]) == 0
    still, ahead = (
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("│")
    )
    assert still[0] == "0" and ahead[0] == "2" and still[1] == ahead[1]
    steps = int(still[1])
    assert still[4] == f"0.00 of {steps} drafts" and still[5] == "0" and still[6] == "0.0"
    assert ahead[4] == f"{(steps - 1) / steps:.2f} of {steps} drafts", "the two choices are all there are"
    assert steps - 1 <= int(ahead[5]) <= 2 * (steps - 1)


def test_what_judging_early_is_worth(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same steps both ways; what the reward takes longer is shared by its candidates, in pieces as they end."""
    monkeypatch.setenv("COLUMNS", "160")
    slept: list[tuple[bool, float]] = []
    monkeypatch.setattr("gsi_node.tools.bench_early.time.sleep", lambda seconds: slept.append((is_early(), seconds)))
    sets = ["--set", "max_steps=3", "--set", "max_step_tokens=24"]
    assert main(["bench", "--judge-early", "--size", "1", "--delay", "0.8", "--n", "8", *sets]) == 0
    still, early = (
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("│")
    )
    assert (still[0], early[0]) == ("false", "true") and still[1] == early[1]
    assert all(0.0 <= float(one[3]) < float(one[2]) and float(one[4]) > 0.0 for one in (still, early))
    assert all(seconds / 0.1 == pytest.approx(round(seconds / 0.1)) for _, seconds in slept)
    pieces = [seconds for by_judge, seconds in slept if by_judge]
    whole = [seconds for by_judge, seconds in slept if not by_judge]
    assert pieces and max(pieces) < 0.8 and max(whole) > max(pieces)
