"""Requests in company against the same alone, for test_batching.py and its mutants."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

from gsi_node.models.transformers import TransformersModel
from gsi_node.rewards.prm.in_process import TransformersPRM
from gsi_node.types import Ends, Key, Prefix, SamplingLaw, Step
from tests.miniature import Miniatures

T = TypeVar("T")
Work = Callable[[], Any]
LAWS = (
    SamplingLaw(max_step_tokens=24),
    SamplingLaw(temperature=1.5, max_step_tokens=9),
    SamplingLaw(temperature=1.3, top_p=0.8, max_step_tokens=16, ends=Ends(()), eos_ids=(3, 20, 30)),
    SamplingLaw(max_step_tokens=70, ends=Ends(()), eos_ids=(3,)),  # longer than the ring of uniforms, the first columns
)


def prefix(number: int) -> Prefix:
    """One of several prefixes of very different lengths."""
    steps = tuple(Step("1+1=2\n\n", (15 + number, 16, 17, 6), 0.0, False) for _ in range(number % 3))
    return Prefix("12+3*4-5=6" * (number % 5) + str(number), steps)


def requests(model: TransformersModel, prm: TransformersPRM) -> list[Work]:
    """Sampling, scoring and rewards of mixed sizes and laws; every result is plain numbers."""

    def sample(number: int, n: int, law: SamplingLaw) -> Work:
        return lambda: [
            (step.token_ids, step.log_prob)
            for step in model.sample(prefix(number), n, Key(number, "company", 0, "draft"), law)
        ]

    def score(number: int, steps: Sequence[Step], law: SamplingLaw) -> Work:
        return lambda: [
            value.log_prob for value in model.score(prefix(number), steps, replace(law, ends=Ends(()), eos_ids=()))
        ]

    def reward(number: int, steps: Sequence[Step]) -> Work:
        return lambda: prm(prefix(number), steps)

    draw = random.Random(0)
    work: list[Work] = []
    for number in range(16):
        steps = [
            Step("1" * length, tuple(draw.randrange(7, 60) for _ in range(length)), 0.0, False)
            for length in draw.sample(range(1, 20), number % 4 + 1)
        ]
        work += [sample(number, (1, 3, 8, 20)[number % 4], LAWS[number // 4])]
        work += [score(number, steps, LAWS[number % 2]), reward(number, steps)]
    return work


def together(work: Sequence[Callable[[], T]], seed: int, threads: int = 12) -> list[T]:
    """The results of all, asked for by many threads in a random order."""
    order = random.Random(seed).sample(range(len(work)), len(work))
    with ThreadPoolExecutor(threads) as pool:
        futures = {index: pool.submit(work[index]) for index in order}
        return [futures[index].result(timeout=60) for index in range(len(work))]


def same(found: Any, wanted: Any, tolerance: float = 1e-9) -> bool:
    """Token ids identical, numbers equal to `tolerance`."""
    if isinstance(wanted, float):
        return bool(abs(found - wanted) <= tolerance)
    if isinstance(wanted, list | tuple):
        return len(found) == len(wanted) and all(same(a, b, tolerance) for a, b in zip(found, wanted, strict=True))
    return bool(found == wanted)


def models(
    miniatures: Miniatures, architecture: str, device: str = "cpu", **options: Any
) -> tuple[TransformersModel, TransformersPRM]:
    """A float64 language model and reward model, cold."""
    settings: dict[str, Any] = {
        "architecture": architecture,
        "dtype": "float64",
        "device": device,
        "options": options,
    }
    return miniatures.language(**settings), miniatures.reward(**{**settings, "architecture": "qwen2"})
