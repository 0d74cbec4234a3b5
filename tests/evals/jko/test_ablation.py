"""`python -m evals jko-ablate`: one run a factor and seed, resumed, compared with the default of the same seed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from evals.__main__ import main
from evals.jko import ablation, command
from evals.jko.ablation import COMMON, FACTORS, Untrained, table
from evals.jko.measurement import Measurement
from gsi_node.errors import DegenerateWeights
from gsi_node.neural_jko import presets
from gsi_node.neural_jko.presets import configured
from gsi_node.neural_jko.run import Run
from gsi_node.neural_jko.saved import load
from gsi_node.neural_jko.targets import named
from tests.evals.jko.test_jko import QUICK


def row(method: str, seed: int, rho: float, low: float = 0.0) -> Measurement:
    one = Measurement(target="funnel", method=method, seed=seed, n=100, dim=10, rho=rho, log_z_lower=low)
    return replace(one, flow_ess=0.5, cpu_seconds=9.0)


def test_every_factor_is_a_setting_that_differs_from_the_default() -> None:
    plain = configured("cpu", "gmm10")
    for name, changes in FACTORS.items():
        made = configured("cpu", "gmm10", changes)
        assert {key for key in changes if getattr(made, key) != getattr(plain, key)} or name == "default", name


def test_every_setting_is_the_plan_that_its_name_says() -> None:
    plans = {name: configured("cpu", "gmm10", {**COMMON, **changes}) for name, changes in FACTORS.items()}
    whole, flow = ["flow", *["rejection"] * plans["default"].first_rejections], ["flow"]
    assert {name: made.plan() for name, made in plans.items()} == {
        **dict.fromkeys(FACTORS, whole), "no-rejections": flow, "reverse-kl-alone": flow
    }  # fmt: skip
    by_likelihood = {name for name, made in plans.items() if made.likelihood_steps}
    assert set(FACTORS) - by_likelihood == {"no-points", "rejections-alone", "reverse-kl-alone", "no-pilot"}
    assert [name for name, made in plans.items() if made.coordinates == "latent"] == ["no-pilot"]
    assert {name for name, made in plans.items() if made.proposal_ess == 1.0} == {"no-rejections", "reverse-kl-alone"}
    assert plans["no-points"].steps == plans["default"].likelihood_steps


def test_differences_are_of_the_same_seed() -> None:
    rows = [row("default", 0, 1e-3), row("default", 1, 5e-3), row("adam", 1, 6e-3, -0.1), row("adam", 0, 2e-3, -0.3)]
    lines = table(rows).rows
    assert lines[0] == ("funnel", "default", "3.0e-03 ± 2.0e-03", "", "0.000 ± 0.000", "", "0.50 ± 0.00", "9 ± 0", "")
    assert lines[1][2:6] == ("4.0e-03 ± 2.0e-03", "+1.0e-03 ± +0.0e+00", "-0.200 ± 0.100", "-0.200 ± +0.100")
    failed = Untrained("funnel", "tanh", 0, "all weights are zero")
    assert table([*rows, failed]).rows[2] == ("funnel", "tanh", *[""] * 6, "seed 0: all weights are zero")


def test_a_model_that_ends_without_a_flow_has_no_ess_of_one() -> None:
    """Rejections alone keep their first flow at one seed and drop it at another."""
    bare, kept = (replace(row("rejections-alone", seed, 1e-3), flow_ess=ess) for seed, ess in ((0, None), (1, 0.1)))
    assert [table(rows).rows[0][6] for rows in ([bare, kept], [bare, bare])] == ["0.10 (1 of 2 seeds)", ""]


def test_the_command_goes_on_and_keeps_what_cannot_be_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(
        presets.PRESETS, "cpu", lambda target: {**QUICK, "pilot_evaluations": 8000, "width": 4, "particles": 64}
    )
    arguments = ["jko-ablate", "--targets", "8modes", "--out", str(tmp_path), "--seeds", "0", "--samples", "40"]
    real, called = command.of_jko, []

    def of_jko(run: Run, *rest: object) -> Measurement:
        called.append(run.folder.parent.name)
        if called[-1] == "no-gate":
            raise DegenerateWeights("nothing left")
        return real(run, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(ablation, "of_jko", of_jko)
    factors = ["default", "rejections-alone", "silu", "no-gate"]
    assert main([*arguments, "--factors", ",".join(factors[:2])]) == 0
    assert main([*arguments, "--factors", ",".join(factors)]) == 0
    text = (tmp_path / "ablation.md").read_text("utf-8")
    assert called == factors
    assert main([*arguments, "--factors", ",".join(factors)]) == 0
    assert called == factors
    assert text == (tmp_path / "ablation.md").read_text("utf-8")
    assert capsys.readouterr().out.endswith(text)
    rows = json.loads((tmp_path / "ablation.json").read_text("utf-8"))
    assert [one["method"] for one in rows] == factors
    assert rows[3]["error"] == "nothing left"
    flow = load(tmp_path / "8modes" / "rejections-alone" / "seed-0", named("8modes")).layers[0]
    x = named("8modes").sample(20, torch.Generator().manual_seed(0)).float()  # type: ignore[attr-defined]
    assert torch.allclose(flow(x)[0], x, atol=1e-6)  # type: ignore[operator]


@pytest.mark.parametrize(("arguments", "told"), [(["--factors", "nuts"], "no nuts"), (["--samples", "1"], "--samples")])
def test_wrong_flags_are_named(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["jko-ablate", "--out", str(tmp_path), *arguments]) == 2
    assert told in capsys.readouterr().err
