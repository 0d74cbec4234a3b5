"""Files of draws in place of a sampler: written, read, and refused where they are of something else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from evals.__main__ import main
from evals.jko.command import with_truths
from evals.jko.folder import claim_folder
from evals.jko.truth import read_truth, write_truth
from gsi_node.errors import ConfigError
from gsi_node.neural_jko.targets import KnownTarget, named


def written(path: Path, seed: int = 0, n: int = 80) -> torch.Tensor:
    y = 3.0 + torch.randn(n, 400, generator=torch.Generator().manual_seed(9))
    write_truth(path, named("cox", seed), y, -500.25, 0.01)
    return y


def test_a_file_of_draws_is_a_truth(tmp_path: Path) -> None:
    y = written(tmp_path / "cox.npz")
    cox = named("cox")
    truth = read_truth(tmp_path / "cox.npz", cox)
    assert isinstance(truth, KnownTarget)
    assert (truth.name, truth.dim, truth.log_z, truth.log_z_error) == ("cox", 400, -500.25, 0.01)
    assert torch.equal(truth.log_density(y.double()), cox.log_density(y.double()))
    drawn = truth.sample(80, torch.Generator().manual_seed(0))
    assert not torch.equal(drawn, y.double())  # in another order, every one once
    assert torch.equal(drawn[:, 0].sort().values, y[:, 0].double().sort().values)
    with pytest.raises(ConfigError, match="80 draws in its file, 81 wanted"):
        truth.sample(81, torch.Generator())
    funnel = named("funnel")
    assert [one.name for one in with_truths([funnel, cox], tmp_path / "cox.npz")] == ["funnel", "cox"]


def test_a_truth_of_another_density_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "cox.npz", seed=1)
    with pytest.raises(ConfigError, match="of another density than cox: log g of draw 0"):
        read_truth(tmp_path / "cox.npz", named("cox"))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "No such file"),
        ({}, "x is not a file"),
        ({"x": np.zeros((4, 3)), "log_g": np.zeros(4), "log_z": 0.0, "log_z_error": 0.0}, r"x \(4, 3\)"),
        ({"x": np.full((4, 400), np.nan), "log_g": np.zeros(4), "log_z": 0.0, "log_z_error": 0.0}, "want"),
        ({"x": np.zeros((4, 400)), "log_g": np.zeros(4), "log_z": np.zeros(2), "log_z_error": 0.0}, "want"),
        ({"x": np.array(["a"]), "log_g": np.zeros(4)}, "want"),
        (b"some text", "want"),
        (b"", "want"),
    ],
)
def test_what_is_no_such_file_is_refused(content: object, told: str, tmp_path: Path) -> None:
    path = tmp_path / "draws.npz"
    if isinstance(content, dict):
        np.savez(path, **content)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=told):
        read_truth(path, named("cox"))


def test_a_single_array_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "draws.npz").open("wb") as file:
        np.save(file, np.zeros((4, 400)))
    with pytest.raises(ConfigError, match="want what numpy.savez writes"):
        read_truth(tmp_path / "draws.npz", named("cox"))


@pytest.mark.parametrize("targets", ["funnel", "cox,cox"])
def test_it_is_for_one_target_without_a_sampler(
    targets: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["jko", "--targets", targets, "--truth", str(tmp_path / "x.npz"), "--out", str(tmp_path / "out")]
    assert main(given) == 2
    assert "for one target without a sampler" in capsys.readouterr().err


def test_rows_are_of_one_density_and_one_truth(tmp_path: Path) -> None:
    for seed in (3, 4):
        written(tmp_path / f"{seed}.npz", seed)
    truth = read_truth(tmp_path / "3.npz", named("cox", 3))
    claim_folder(tmp_path / "rows", truth)
    claim_folder(tmp_path / "rows", truth)
    with pytest.raises(ConfigError, match="rows of another cox .log g at probe 0 .*another --target-seed"):
        claim_folder(tmp_path / "rows", read_truth(tmp_path / "4.npz", named("cox", 4)))
    with pytest.raises(ConfigError, match="other draws than those of --truth"):
        claim_folder(tmp_path / "rows", replace(truth, log_z=truth.log_z + 1e-9))
