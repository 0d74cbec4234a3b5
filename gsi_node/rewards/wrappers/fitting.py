"""Fits of a reward to labelled steps: Platt's logistic map, and the isotonic one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from gsi_node.errors import ConfigError, RewardOutOfRange
from gsi_node.protocols import Reward, name_of
from gsi_node.rewards.wrappers.calibration import EDGE, METHODS, Calibration, logit, sigmoid
from gsi_node.types import Array, Prefix, Step


def calibrate(reward: Reward, labels: Path, method: str = "platt") -> Calibration:
    """Fit a map from the reward of each labelled step to the probability that it is correct."""
    if method not in METHODS:
        raise ConfigError(f"calibration method {method!r} is unknown; known: {', '.join(METHODS)}")
    if reward.range != (0.0, 1.0):
        raise ConfigError(f"rewards in {reward.range} cannot be calibrated: they must lie in (0.0, 1.0)")
    rows = [_row(line, number, labels) for number, line in enumerate(_lines(labels), 1) if line.strip()]
    if len({label for _, _, label in rows}) < 2:
        raise ConfigError(f"labels file {labels} needs steps of both labels, 0 and 1; it has {len(rows)} lines")
    y = np.array([label for _, _, label in rows], dtype=np.float64)
    r = np.array([_in_range(reward(prefix, [step])[0], reward) for prefix, step, _ in rows])
    before = _loss(r, y)
    if method == "platt":
        slope, offset = platt(r, y)
        after = _loss(sigmoid(slope * logit(r) + offset), y)
        return Calibration("platt", reward.fingerprint, len(rows), before, after, slope, offset)
    points, heights = isotonic(r, y)
    after = _loss(np.interp(r, points, heights), y)
    return Calibration(
        "isotonic",
        reward.fingerprint,
        len(rows),
        before,
        after,
        rewards=tuple(points.tolist()),
        probabilities=tuple(heights.tolist()),
    )


def platt(rewards: Array, labels: Array, steps: int = 100) -> tuple[float, float]:
    """Slope and offset of the logistic regression of labels on logit(r), by Newton's method.

    Targets are Platt's (1999): (n_1 + 1)/(n_1 + 2) and 1/(n_0 + 2), so separable labels have a finite fit.
    """
    good = labels.sum()
    bad = len(labels) - good
    target = np.where(labels > 0, (good + 1) / (good + 2), 1 / (bad + 2))
    x = np.stack([logit(rewards), np.ones(len(rewards))], axis=1)
    theta = np.array([0.0, np.log((good + 1) / (bad + 1))])
    loss = _loss(sigmoid(x @ theta), target)
    for _ in range(steps):
        p = sigmoid(x @ theta)
        gradient = x.T @ (p - target)
        hessian = (x * (p * (1 - p))[:, None]).T @ x + 1e-12 * np.eye(2)
        move = np.linalg.solve(hessian, gradient)
        size = 1.0
        while size > 1e-10 and _loss(sigmoid(x @ (theta - size * move)), target) > loss:
            size /= 2
        theta = theta - size * move
        new = _loss(sigmoid(x @ theta), target)
        if loss - new < 1e-12:
            break
        loss = new
    return float(theta[0]), float(theta[1])


def isotonic(rewards: Array, labels: Array) -> tuple[Array, Array]:
    """The non-decreasing step function of least squares, by pooling adjacent violators: both ends of every step."""
    order = np.argsort(rewards, kind="stable")
    blocks: list[tuple[float, float, float, float]] = []  # first and last reward, mean label, count
    for value, label in zip(rewards[order].tolist(), labels[order].tolist(), strict=True):
        block = (value, value, label, 1.0)
        while blocks and (blocks[-1][2] >= block[2] or blocks[-1][1] == block[0]):
            first, _, mean, count = blocks.pop()
            total = count + block[3]
            block = (first, block[1], (mean * count + block[2] * block[3]) / total, total)
        blocks.append(block)
    points = [(edge, mean) for first, last, mean, _ in blocks for edge in dict.fromkeys((first, last))]
    return np.array([edge for edge, _ in points]), np.array([mean for _, mean in points])


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8-sig").split("\n")  # JSON lines end there, and nowhere else
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"labels file {path} cannot be read: {error}") from error


def _row(line: str, number: int, path: Path) -> tuple[Prefix, Step, int]:
    try:
        row = json.loads(line)
        problem, texts, label = row["problem"], row["steps"], row["label"]
        if not isinstance(problem, str) or not isinstance(texts, list) or not all(isinstance(t, str) for t in texts):
            raise TypeError("problem must be a text, and steps a list of texts")
        if label not in (0, 1) or not texts[-1].strip():
            raise ValueError("label must be 0 or 1, and the last step not empty")
        "".join([problem, *texts]).encode()  # half a character, "\\ud800", is no text
        steps = tuple(Step(text, (), 0.0, False) for text in texts)
        return Prefix(problem, steps[:-1]), steps[-1], int(label)
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise ConfigError(
            f'line {number} of {path} is no {{"problem": …, "steps": […], "label": 0 or 1}} ({error})'
        ) from error


def _in_range(value: float, reward: Reward) -> float:
    if not 0.0 <= value <= 1.0:
        raise RewardOutOfRange(f"{name_of(reward)} gave {value}, outside of its range (0.0, 1.0)")
    return value


def _loss(p: Array, target: Array) -> float:
    p = np.clip(p, EDGE, 1 - EDGE)
    return float(-np.mean(target * np.log(p) + (1 - target) * np.log1p(-p)))
