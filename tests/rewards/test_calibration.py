"""Calibration: Platt and isotonic fits against their definitions, the file, and what it refuses."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from gsi_node.errors import ConfigError
from gsi_node.rewards.calibration import CalibratedReward, Calibration, calibrate, isotonic, main, platt
from gsi_node.rewards.callables import callable_reward
from gsi_node.rewards.verifier import VerifierReward
from gsi_node.types import Prefix, Step

REWARD = callable_reward(lambda problem, steps: float(steps[-1]), name="number", fingerprint="number")


def labels(path: Path, rows: list[tuple[float, int]]) -> Path:
    """A labels file in which a step's text is its reward."""
    lines = (json.dumps({"problem": "p", "steps": ["so", str(r)], "label": y}) for r, y in rows)
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def drawn(count: int = 400) -> list[tuple[float, int]]:
    rng = np.random.default_rng(0)
    rewards = rng.random(count).round(3)
    return [(float(r), int(rng.random() < r**3)) for r in rewards]  # overconfident: the truth is r³


def test_platt_is_the_best_of_its_kind() -> None:
    r, y = (np.array(column, dtype=float) for column in zip(*drawn(), strict=True))
    good, bad = y.sum(), len(y) - y.sum()
    target = np.where(y > 0, (good + 1) / (good + 2), 1 / (bad + 2))
    x = np.log(np.clip(r, 1e-6, 1 - 1e-6)) - np.log1p(-np.clip(r, 1e-6, 1 - 1e-6))

    def loss(slope: float, offset: float) -> float:
        p = 1 / (1 + np.exp(-(slope * x + offset)))
        return float(-np.mean(target * np.log(p) + (1 - target) * np.log1p(-p)))

    slope, offset = platt(r, y)
    near = [loss(slope + a, offset + b) for a, b in product((-0.01, 0.0, 0.01), repeat=2) if (a, b) != (0.0, 0.0)]
    assert loss(slope, offset) < min(near)
    assert platt(np.array([0.1, 0.9]), np.array([0.0, 1.0]))[0] < 100  # separable, and finite all the same


def test_isotonic_by_hand() -> None:
    points, heights = isotonic(np.array([0.1, 0.2, 0.3, 0.4, 0.4, 0.9]), np.array([0.0, 1.0, 0.0, 1.0, 0.0, 1.0]))
    assert points.tolist() == [0.1, 0.2, 0.4, 0.9]
    assert heights.tolist() == [0.0, 0.5, 0.5, 1.0]


@pytest.mark.parametrize("method", ["platt", "isotonic"])
async def test_a_calibrated_reward_is_nearer_to_the_truth(tmp_path: Path, method: str) -> None:
    fitted = calibrate(REWARD, labels(tmp_path / "l.jsonl", drawn()), method)
    assert fitted.after < fitted.before
    fitted.save(tmp_path / "c.json")
    assert Calibration.load(tmp_path / "c.json") == fitted
    calibrated = CalibratedReward(REWARD, tmp_path / "c.json")
    steps = [Step(text, (1,), 0.0, False) for text in ("0", "0.3", "0.8", "1")]
    found = calibrated(Prefix("p"), steps)
    assert found == sorted(found) and found[0] >= 0 and found[-1] <= 1
    assert found[2] == pytest.approx(0.8**3, abs=0.15)
    assert await calibrated.acall(Prefix("p"), steps) == found


def test_files_that_are_refused(tmp_path: Path) -> None:
    path = labels(tmp_path / "l.jsonl", [(0.5, 1), (0.25, 1)])
    with pytest.raises(ConfigError, match="both labels"):
        calibrate(REWARD, path)
    with pytest.raises(ConfigError, match="method 'beta' is unknown"):
        calibrate(REWARD, path, "beta")
    for line in ("{", '{"problem": "p", "steps": [], "label": 1}', '{"problem": "p", "steps": ["x"], "label": 2}'):
        path.write_text(f'{{"problem": "p", "steps": ["1"], "label": 1}}\n{line}\n', "utf-8")
        with pytest.raises(ConfigError, match="line 2 of"):
            calibrate(REWARD, path)
    with pytest.raises(ConfigError, match="cannot be read"):
        calibrate(REWARD, tmp_path / "none")
    with pytest.raises(ConfigError, match="cannot be read"):
        CalibratedReward(REWARD, path)
    with pytest.raises(ConfigError, match="no folder to keep a calibration in"):
        CalibratedReward(REWARD)
    calibrate(REWARD, labels(path, [(0.5, 1), (0.25, 0)])).save(tmp_path / "c.json")
    with pytest.raises(ConfigError, match="fitted to another reward"):
        CalibratedReward(VerifierReward(), tmp_path / "c.json")


def test_the_command_writes_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "l.jsonl"
    rows = [("2 + 2 = 4", 1), ("2 + 2 = 5", 0), ("so", 1), ("thus", 0)]
    lines = (json.dumps({"problem": "p", "steps": [text], "label": label}) for text, label in rows)
    path.write_text("\n".join(lines), "utf-8")
    assert main(["verifier", str(path), "--out", str(tmp_path / "c.json")]) == 0
    assert "4 steps:" in capsys.readouterr().out
    assert CalibratedReward(VerifierReward(), tmp_path / "c.json").calibration.method == "platt"
