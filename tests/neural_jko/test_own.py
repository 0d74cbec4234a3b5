"""Densities of one's own: they are what they say, and the pilot alone is close to them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from gsi_node.neural_jko.metrics import distance
from gsi_node.neural_jko.pilot import pilot
from tests.neural_jko import own_densities
from tests.neural_jko.own import OWN


@pytest.mark.parametrize("name", list(OWN))
def test_the_density_is_that_of_the_sampler(name: str) -> None:
    """E_g[q / g] = 1 with q a Gaussian of the truth's mean and half its spread, which g covers; 5 standard errors."""
    target = OWN[name](0)
    x = target.sample(40_000, torch.Generator().manual_seed(0))
    centre = target.sample(1, torch.Generator().manual_seed(3))[0]
    near = (x - centre).norm(dim=1).argsort()[: len(x) // 20]
    covariance = torch.cov(x[near].t()) / 4 + 1e-12 * torch.eye(target.dim, dtype=torch.float64)
    q = torch.distributions.MultivariateNormal(x[near].mean(0), covariance)
    ratio = (q.log_prob(x) - target.log_density(x)).exp()
    error = float(ratio.std()) / len(x) ** 0.5
    assert error < 0.2
    assert float(ratio.mean()) == pytest.approx(1.0, abs=5 * error)


@pytest.mark.parametrize("name", list(OWN))
def test_the_pilot_finds_it(name: str) -> None:
    """ρ in units of each coordinate's standard deviation; at the truth 0 with a standard deviation of about 2e-4."""
    for seed in range(2):
        target = OWN[name](seed)
        found = pilot(target.log_density, target.dim, seed)
        truth = target.sample(3000, torch.Generator().manual_seed(1))
        spread = target.sample(20_000, torch.Generator().manual_seed(2)).std(0)
        drawn = found.points.resampled(3000, torch.Generator().manual_seed(seed))
        assert distance(drawn / spread, truth / spread).relative < 3e-3, seed
        assert abs(found.log_z) < 0.3, seed


@pytest.mark.parametrize(
    ("rho", "warning", "ended", "told"),
    [(4e-4, None, 0, "4.0e-04 "), (6e-4, "KL", 0, "6.0e-04, missed "), (6e-4, None, 1, "missed and not said")],
)
def test_a_miss_that_no_run_announces_ends_the_command_with_1(
    rho: float,
    warning: str | None,
    ended: int,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What was measured before is not measured again: the command goes on."""
    numbers = {"rho": rho, "pilot_rho": 0.0, "ess": [0.4], "kl": 0.03, "log_z_lower": 0.0, "log_z": 0.0}
    numbers |= {"cpu_seconds": 1.0} | ({} if warning is None else {"warning": warning})
    (tmp_path / "rings-1-20000.json").write_text(json.dumps(numbers))
    monkeypatch.setattr(sys, "argv", ["own_densities", "--out", str(tmp_path), "--only", "rings-1"])
    assert own_densities.main() == ended
    assert told in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--only", "rings-0,knots-0"], "no knots-0; there are two-modes-0"),
        (["--samples", "1"], "--samples: want at least 2"),
        (["--out", "{folder}/file"], "no folder to write in"),
    ],
)
def test_a_wrong_call_is_one_line(
    arguments: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").write_text("x")
    given = [argument.replace("{folder}", str(tmp_path)) for argument in arguments]
    monkeypatch.setattr(sys, "argv", ["own_densities", "--out", str(tmp_path / "run"), *given])
    assert own_densities.main() == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
