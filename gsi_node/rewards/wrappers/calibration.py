"""Calibrated rewards: a monotone map, fitted to steps of known correctness, that turns a reward into a probability.

python -m gsi_node.rewards.wrappers.calibration SPEC LABELS [--method platt|isotonic] [--out FILE] reads JSON lines,
{"problem": …, "steps": […], "label": 0 or 1 for the last step}, and writes the map beside the model.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from gsi_node.cancel import run_cancellable
from gsi_node.errors import ConfigError, RewardOutOfRange
from gsi_node.host.files import write
from gsi_node.host.paths import expanded
from gsi_node.host.shell import Parser, ending
from gsi_node.identity import same_fingerprint
from gsi_node.protocols import Reward
from gsi_node.types import Prefix, Step

Array = NDArray[np.float64]
METHODS = ("platt", "isotonic")
NAME = "calibration.json"
_EDGE = 1e-6  # rewards are kept this far from 0 and 1 before their logit is taken


@dataclass(frozen=True, slots=True)
class Calibration:
    """Platt: P = sigmoid(slope · logit(r) + offset). Isotonic: linear between the points (rewards, probabilities).

    reward: the fingerprint of the reward it was fitted to. before, after: mean negative log-likelihood of the
    labels in nats, on the `examples` it was fitted to.
    """

    method: Literal["platt", "isotonic"]
    reward: str
    examples: int
    before: float
    after: float
    slope: float = 1.0
    offset: float = 0.0
    rewards: tuple[float, ...] = ()
    probabilities: tuple[float, ...] = ()

    def __call__(self, values: Sequence[float]) -> list[float]:
        """The calibrated rewards, in [0, 1]."""
        if self.method == "platt":
            fitted = _sigmoid(self.slope * _logit(values) + self.offset)
        else:
            fitted = np.interp(values, self.rewards, self.probabilities)
        return [float(value) for value in fitted]

    def save(self, path: Path) -> None:
        """Write it as JSON. Raises StorageError."""
        write(path, json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; ConfigError for anything else."""
        try:
            content = json.loads(path.read_text("utf-8"))
            for key in ("rewards", "probabilities"):
                content[key] = tuple(map(float, content[key]))
            found = cls(**content)
            found._refuse_broken()
        except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise ConfigError(
                f"calibration file {path} cannot be read ({error}); write one with "
                "python -m gsi_node.rewards.wrappers.calibration SPEC LABELS --out FILE"
            ) from error
        return found

    def _refuse_broken(self) -> None:
        """Raise ValueError where it is no map into [0, 1] that rises with the reward."""
        if self.method not in METHODS:
            raise ValueError(f"method {self.method!r}; known: {', '.join(METHODS)}")
        numbers: list[object] = [self.before, self.after, self.slope, self.offset, *self.rewards, *self.probabilities]
        if not all(isinstance(number, int | float) and math.isfinite(number) for number in numbers):
            raise ValueError("a number that is not finite")
        rising = list(self.rewards) == sorted(self.rewards) and list(self.probabilities) == sorted(self.probabilities)
        within = all(0.0 <= p <= 1.0 for p in self.probabilities)
        if len(self.rewards) != len(self.probabilities) or not rising or not within:
            raise ValueError("its points are no rising map into [0, 1]")
        if self.method == "isotonic" and not self.rewards:
            raise ValueError("it has no points")


class CalibratedReward:
    """calibration(r(x, y)). The calibration must have been fitted to this very reward."""

    range = (0.0, 1.0)

    def __init__(self, inner: Reward, file: str | Path | None = None) -> None:
        """file: what the command above wrote; by default calibration.json in the folder of a local model."""
        self.inner = inner
        path = beside(inner) if file is None else expanded(file)
        self.calibration = Calibration.load(path)
        if not same_fingerprint(self.calibration.reward, inner.fingerprint):
            raise ConfigError(f"calibration file {path} was fitted to another reward; fit it again to this one")
        self.name = f"calibrated {_name(inner)}"

    @property
    def fingerprint(self) -> str:
        return f"calibrated({self.calibration}): {self.inner.fingerprint}"

    def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        return self.calibration(self.inner(prefix, steps))

    async def acall(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        twin = getattr(self.inner, "acall", None)
        work = run_cancellable(self.inner.__call__, prefix, steps) if twin is None else twin(prefix, steps)
        return self.calibration(await work)


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
        after = _loss(_sigmoid(slope * _logit(r) + offset), y)
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
    x = np.stack([_logit(rewards), np.ones(len(rewards))], axis=1)
    theta = np.array([0.0, np.log((good + 1) / (bad + 1))])
    loss = _loss(_sigmoid(x @ theta), target)
    for _ in range(steps):
        p = _sigmoid(x @ theta)
        gradient = x.T @ (p - target)
        hessian = (x * (p * (1 - p))[:, None]).T @ x + 1e-12 * np.eye(2)
        move = np.linalg.solve(hessian, gradient)
        size = 1.0
        while size > 1e-10 and _loss(_sigmoid(x @ (theta - size * move)), target) > loss:
            size /= 2
        theta = theta - size * move
        new = _loss(_sigmoid(x @ theta), target)
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


def beside(reward: Reward) -> Path:
    """calibration.json in the folder of a local model; ConfigError where there is no folder."""
    folder = expanded(_name(reward))
    if not folder.is_dir():
        raise ConfigError(f"reward {_name(reward)} has no folder to keep a calibration in; name a file for it")
    return folder / NAME


def _name(reward: Reward) -> str:
    return str(getattr(reward, "name", type(reward).__name__))


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
        raise RewardOutOfRange(f"{_name(reward)} gave {value}, outside of its range (0.0, 1.0)")
    return value


def _sigmoid(x: Array) -> Array:
    return np.asarray(np.exp(-np.logaddexp(0.0, -x)))


def _logit(values: Sequence[float] | Array) -> Array:
    p = np.clip(np.asarray(values, dtype=np.float64), _EDGE, 1 - _EDGE)
    return np.asarray(np.log(p) - np.log1p(-p))


def _loss(p: Array, target: Array) -> float:
    p = np.clip(p, _EDGE, 1 - _EDGE)
    return float(-np.mean(target * np.log(p) + (1 - target) * np.log1p(-p)))


def main(arguments: list[str] | None = None) -> int:
    from gsi_node.specs.load import load_reward

    parser = Parser(prog="python -m gsi_node.rewards.wrappers.calibration", description="Calibrate a reward.")
    parser.add_argument("spec", help="reward spec, for instance prm:/models/prm")
    parser.add_argument("labels", type=Path, help='JSON lines {"problem", "steps", "label" of the last step}')
    parser.add_argument("--method", choices=METHODS, default="platt", help="default: platt")
    parser.add_argument("--out", type=Path, help=f"default: {NAME} in the model's folder")
    options = parser.parse_args(arguments)
    reward = load_reward(options.spec)
    path = options.out or beside(reward)
    fitted = calibrate(reward, options.labels, options.method)
    fitted.save(path)
    sys.stdout.write(
        f"{fitted.examples} steps: {fitted.before:.4f} nats a label before, {fitted.after:.4f} after; wrote {path}\n"
    )
    return 0


if __name__ == "__main__":
    with ending():
        raise SystemExit(main())
