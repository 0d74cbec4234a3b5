"""What stands between the forwards of a run: seconds of the CPU, inside them and beside them, alone and in company.

The bound is what the products of the forwards alone would take: every linear layer on as many positions as each forward
had. Left out of it: the products within attention, and all that is no product.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import nn

from gsi_node.bases import RewardBase
from gsi_node.graph.build import compile_gsi
from gsi_node.pocket.world.problems import problems
from gsi_node.step.config import GSIConfig
from gsi_node.types import Prefix, Step

EARLY, LATE = (4, 5, 6), (29, 30, 31)
RUN = LATE[-1] + 1
Shape = tuple[int, int]
"""Positions of a forward, and those of them whose outputs it gives."""


@dataclass(slots=True)
class ForwardMeter:
    """Forwards of one model, which one thread at a time runs: CPU seconds in them, and how many of each shape."""

    seconds: float = 0.0
    shapes: Counter[Shape] = field(default_factory=Counter)
    _since: float = 0.0

    def begin(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A forward begins."""
        ids = kwargs["input_ids"]
        self.shapes[ids.numel(), len(ids) if "logits_to_keep" in kwargs else ids.numel()] += 1
        self._since = time.thread_time()

    def end(self, model: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """It is over."""
        self.seconds += time.thread_time() - self._since


ForwardMeters = dict[nn.Module, ForwardMeter]


@contextmanager
def metered(parts: Iterable[Any]) -> Iterator[ForwardMeters]:
    """Meters of these models' forwards, while the context lasts."""
    meters = {part.engine.runner.model: ForwardMeter() for part in parts}
    hooks = [model.register_forward_pre_hook(meter.begin, with_kwargs=True) for model, meter in meters.items()]
    hooks += [model.register_forward_hook(meter.end) for model, meter in meters.items()]
    try:
        yield meters
    finally:
        for hook in hooks:
            hook.remove()


def _inside(meters: ForwardMeters) -> float:
    return sum(meter.seconds for meter in meters.values())


class RunCost(NamedTuple):
    """Whole runs: tokens generated and scored by all models; CPU seconds, those inside forwards, and those that the
    products of these forwards take by themselves."""

    tokens: int
    seconds: float
    forwards: float
    products: float


def run_cost(parts: dict[str, Any], config: GSIConfig, size: int, at_once: int) -> RunCost:
    """Of `size` test problems of pocket math, from cold caches."""
    graph = compile_gsi(**parts, config=config)
    asked: list[Any] = [{"problem": p.problem, "problem_id": i} for i, p in enumerate(problems("test", 0, size))]
    for part in parts.values():
        part.engine.cache.clear()
    with metered(parts.values()) as meters:
        began = time.process_time()
        found = graph.batch(asked, config={"max_concurrency": at_once})
        seconds = time.process_time() - began
    bills = [bill for out in found for bill in out["usage"].values()]
    tokens = sum(bill["generated_tokens"] + bill["scored_tokens"] for bill in bills)
    return RunCost(tokens, seconds, _inside(meters), products_seconds(meters))


@torch.inference_mode()
def products_seconds(meters: ForwardMeters) -> float:
    """CPU seconds of the linear layers of these forwards, each at the median of five timings of its product."""
    total = 0.0
    for model, meter in meters.items():
        layers: list[Any] = [layer for layer in model.modules() if is_linear(layer)]
        head = getattr(model, "get_output_embeddings", lambda: None)()
        times: dict[tuple[int, ...], float] = {}
        for (positions, outputs), count in meter.shapes.items():
            for layer in layers:
                rows, weight = outputs if layer is head else positions, layer.weight
                known = (rows, *weight.shape)
                if known not in times:
                    times[known] = _product(layer, torch.ones(rows, weight.shape[1], dtype=weight.dtype))
                total += count * times[known]
    return total


def is_linear(layer: nn.Module) -> bool:
    """Whether a module is a product with a matrix of its own, packed or not."""
    return getattr(getattr(layer, "weight", None), "ndim", 0) == 2 and not isinstance(layer, nn.Embedding)


def _product(layer: nn.Module, rows: torch.Tensor) -> float:
    times = []
    for _ in range(6):
        began = time.thread_time()
        for _ in range(5):
            layer(rows)
        times.append((time.thread_time() - began) / 5)
    return statistics.median(times[1:])


class GoesOn(RewardBase):
    """A reward model's own work and values, but 0 for a candidate that ends the response."""

    def __init__(self, reward: Any) -> None:
        self.reward = reward

    def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        rewards = self.reward(prefix, steps)
        return [0.0 if step.finished else value for step, value in zip(steps, rewards, strict=True)]


class StepTimes(NamedTuple):
    """CPU seconds of a step, and those of them outside of forwards."""

    seconds: float
    outside: float


def step_times(parts: dict[str, Any], n: int, runs: int) -> tuple[StepTimes, StepTimes]:
    """Medians of steps 4 to 6 and of steps 29 to 31 of `runs` responses of 32 steps, behind one that is not counted.

    Steps of equal work: 16 tokens a candidate at a temperature at which no two are alike, all accepted, and none that
    ends the response. (Where the text decides, it is the candidates that are longer late in a response.)
    """
    config = GSIConfig(
        n=n, step_end="tokens:16", max_steps=RUN, temperature=3.0, beta=1e4, threshold=-1e9, max_tokens=16 * RUN + 1
    )
    graph = compile_gsi(**{**parts, "reward": GoesOn(parts["reward"])}, config=config)
    early, late, whole = [], [], 0
    for seed in range(100):
        with metered(parts.values()) as meters:
            marks = [(time.process_time(), 0.0)]
            for update in graph.stream({"problem": "What is 12 * (7 + 5)?"}, context={"seed": seed}):
                if "tilt_and_accept" in update:
                    marks.append((time.process_time(), _inside(meters)))
        if len(marks) <= RUN:
            continue  # it gave an answer before
        whole += 1
        if whole > 1:
            early += [_between(*marks[step - 1 : step + 1]) for step in EARLY]
            late += [_between(*marks[step - 1 : step + 1]) for step in LATE]
        if whole > runs:
            break
    return _medians(early), _medians(late)


def _between(before: tuple[float, float], after: tuple[float, float]) -> StepTimes:
    seconds = after[0] - before[0]
    return StepTimes(seconds, seconds - (after[1] - before[1]))


def _medians(times: list[StepTimes]) -> StepTimes:
    return StepTimes(*map(statistics.median, zip(*times, strict=True)))
