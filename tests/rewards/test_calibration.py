"""Calibration: Platt and isotonic fits against their definitions, the file, and what it refuses."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gsi_node.errors import ConfigError, RewardOutOfRange
from gsi_node.rewards.callables import callable_reward
from gsi_node.rewards.verifier.reward import VerifierReward
from gsi_node.rewards.wrappers.calibration import CalibratedReward, Calibration
from gsi_node.rewards.wrappers.fitting import calibrate, isotonic, platt
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


SEPARATOR = "\u2028"


def test_lines_end_at_line_feeds_only_and_are_counted_as_an_editor_does(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    rows = [
        {"problem": f"a{SEPARATOR}b", "steps": ["0.5"], "label": 1},
        {"problem": "p", "steps": ["0.25"], "label": 0},
    ]
    path.write_text("\ufeff" + "\r\n\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")
    assert calibrate(REWARD, path).examples == 2
    path.write_text(path.read_text("utf-8") + "\n\nbroken\n", "utf-8")
    with pytest.raises(ConfigError, match="line 5 of"):
        calibrate(REWARD, path)


@pytest.mark.parametrize(
    "line",
    [
        "[" * 100_000,
        '{"problem": "p", "steps": ["x"], "label": ' + "9" * 5000 + "}",
        '{"problem": "\\ud800", "steps": ["x"], "label": 1}',
        '{"problem": "p", "steps": ["\\ud800"], "label": 1}',
        '{"problem": 7, "steps": ["x"], "label": 1}',
        '{"problem": "p", "steps": "x", "label": 1}',
        '{"problem": "p", "steps": ["x"], "label": NaN}',
        '{"problem": "p", "steps": ["x"], "label": []}',
        "null",
        '"\\ud800"',
    ],
    ids=lambda line: line[:44],
)
def test_a_hostile_line_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    path.write_text(line)
    with pytest.raises(ConfigError, match="line 1 of"):
        calibrate(REWARD, path)


def test_a_reward_that_is_no_number_is_not_fitted(tmp_path: Path) -> None:
    broken = callable_reward(lambda problem, steps: float(steps[-1]), name="n", fingerprint="n", range=(0.0, 1.0))
    path = labels(tmp_path / "l.jsonl", [(0.5, 1), (0.25, 0)])
    for value in ("nan", "1.5", "-0.1"):
        path.write_text(json.dumps({"problem": "p", "steps": [value], "label": 1}) + "\n" + path.read_text())
        with pytest.raises(RewardOutOfRange, match=f"gave {value}"):
            calibrate(broken, path)


GOOD = {
    "method": "isotonic", "reward": REWARD.fingerprint, "examples": 2, "before": 0.6, "after": 0.5,
    "slope": 1.0, "offset": 0.0, "rewards": [0.25, 0.5], "probabilities": [0.0, 1.0],
}  # fmt: skip


@pytest.mark.parametrize(
    "changed",
    [
        {"method": "beta"},
        {"method": []},
        {"slope": float("nan")},
        {"slope": "1"},
        {"rewards": [0.5, 0.25]},
        {"probabilities": [1.0, 0.0]},
        {"probabilities": [0.0, 2.0]},
        {"rewards": [0.5]},
        {"rewards": [], "probabilities": []},
        {"rewards": [10**400, 0]},
        {"rewards": None},
        {"more": 1},
    ],
    ids=str,
)
def test_a_file_that_is_no_rising_map_is_refused(changed: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps(GOOD))
    assert CalibratedReward(REWARD, path)(Prefix("p"), [Step("0.375", (), 0.0, False)]) == [0.5]
    path.write_text(json.dumps({**GOOD, **changed}))
    with pytest.raises(ConfigError, match="cannot be read"):
        CalibratedReward(REWARD, path)


@pytest.mark.parametrize("content", ["[]", "null", "[" * 100_000, "9" * 5000, "{}", "\ufeff{}"], ids=lambda c: c[:6])
def test_a_file_of_another_shape_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(content, "utf-8")
    with pytest.raises(ConfigError, match="cannot be read"):
        CalibratedReward(REWARD, path)
    with pytest.raises(ConfigError, match="cannot be read"):
        CalibratedReward(REWARD, "~nobody-of-this-name/c.json")
