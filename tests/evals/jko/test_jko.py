"""`python -m evals jko`: its table and its errors; the twins of the targets for HMC and MALA."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from evals.__main__ import main
from evals.jko.folder import claim_folder
from evals.jko.measurement import Measurement
from evals.jko.table import tables
from gsi_node.needs import install_extra
from gsi_node.neural_jko import presets
from gsi_node.neural_jko.lock import held
from gsi_node.neural_jko.targets import named, with_truth

QUICK = {
    "first_rejections": 2, "blocks": 1, "likelihood_steps": 5, "rounds": 0, "steps": 5, "width": 16, "particles": 256,
    "weighing": 64, "calibration": 64, "optimizer": "adam",
}  # fmt: skip


def test_the_command_writes_its_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(presets.PRESETS, "cpu", lambda target: QUICK)
    arguments = ["jko", "--targets", "8modes", "--out", str(tmp_path), "--seeds", "0,1", "--samples", "50"]
    assert main([*arguments, "--baselines", "none"]) == 0
    rows = json.loads((tmp_path / "jko.json").read_text("utf-8"))
    assert [row["method"] for row in rows] == ["truth", *["neural JKO", "pilot"] * 2]
    text = (tmp_path / "jko.md").read_text("utf-8")
    assert all(one.markdown() in text for one in tables([Measurement(**row) for row in rows]))
    cells = [[cell.strip() for cell in line.split("|")] for line in text.splitlines()]
    assert ["published, n = 50,000", "-1.1e-05", "", "1.2e-05"] in [line[2:6] for line in cells]
    assert "2 seeds" in text
    assert (tmp_path / "jko.png").read_bytes().startswith(b"\x89PNG")
    assert 10_000 < (tmp_path / "jko.png").stat().st_size < 400_000
    for seed in ("seed-0", "seed-1"):
        assert {page.name for page in (tmp_path / "8modes" / seed).glob("*.png")} == {
            "samples.png", "marginals.png", "training.png",
        }  # fmt: skip
    model = rows[1]
    assert {"forward_kl", "forward_kl_error", "kl", "ks_rejected", "ks_least_p", "x1_tail", "x1_tail_truth"} <= set(
        model
    )
    assert (model["n"], model["dim"], model["log_z_truth"]) == (50, 2, 0.0)
    assert model["sampling_evaluations"] > 0 and model["sampling_cpu_seconds"] > 0


def test_a_model_without_a_flow_says_so(tmp_path: Path) -> None:
    """Of a mixture in many dimensions, whose modes' Laplace approximations are the target: nothing is trained."""
    given = ["jko", "--targets", "gmm20", "--out", str(tmp_path), "--seeds", "0", "--samples", "50"]
    assert main([*given, "--baselines", "none"]) == 0
    model = json.loads((tmp_path / "jko.json").read_text("utf-8"))[1]
    assert model["flows"] == 0 and "flow_ess" not in model
    assert "neural JKO, no flow, n = 50" in (tmp_path / "jko.md").read_text("utf-8")


def test_noise_of_another_target_seed_is_not_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The noise, chains and points of a mixture depend on its means, which its name does not say."""
    given = ["jko", "--targets", "gmm10", "--out", str(tmp_path), "--seeds", "0", "--samples", "50"]
    claim_folder(tmp_path / "gmm10", with_truth(named("gmm10")))
    kept = tmp_path / "gmm10" / "noise-50.json"
    kept.write_text('{"target": "gmm10", "method": "truth", "rho": 0.0, "std": 1.0, "n": 50, "dim": 10}')
    assert main([*given, "--baselines", "none", "--target-seed", "1"]) == 2
    assert "rows of another gmm10" in capsys.readouterr().err
    assert not (tmp_path / "gmm10" / "seed-0").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--target-seed", "0"], "target seed 0: nothing of 8modes is drawn"),
        (["--targets", "9modes"], "9modes"),
        (["--baselines", "nuts"], "nuts"),
        (["--seeds", "zero"], "zero"),
        (["--samples", "1"], "--samples"),
        (["--seeds", "9" * 5000], "--seeds"),
    ],
)
def test_wrong_flags_are_named(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["jko", "--out", str(tmp_path), *arguments]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    "content", ["[]", "null", "{}", "[" * 100_000, '{"target": NaN}', "9" * 5000], ids=lambda c: c[:8]
)
def test_a_row_that_is_none_is_refused(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "8modes" / "noise-50.json"
    kept.parent.mkdir()
    kept.write_text(content)
    assert main(["jko", "--targets", "8modes", "--samples", "50", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "noise-50.json: " in error
    assert error.count("\n") == 1
    assert kept.read_text() == content


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["jko", "--targets", "8modes", "--samples", "50", "--out", str(tmp_path / "file")]) in (1, 2)
    assert "file: no folder to write in: " in capsys.readouterr().err


def test_one_process_at_a_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with held(tmp_path):
        assert main(["jko", "--targets", "8modes", "--samples", "50", "--out", str(tmp_path)]) == 2
    assert f"process {os.getpid()} is at work there" in capsys.readouterr().err


def test_a_sampler_that_is_not_installed_is_said_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "blackjax", None)
    assert main(["jko", "--targets", "8modes", "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"error: hmc needs blackjax: {install_extra('jko')}, or --baselines none\n"
    assert not (tmp_path / "out").exists()
