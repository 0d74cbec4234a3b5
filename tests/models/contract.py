"""What every StepModel must do, as checks over a `Backend`; test_contract.py runs them, mutants must fail them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gsi_node.protocols import StepModel
from gsi_node.specs.load import load_model
from gsi_node.tables.models import EOS_ID, TableModel
from gsi_node.types import Key, Prefix, SamplingLaw, Step
from tests.miniature import Miniatures

KEY = Key(7, "contract", 0, "draft")
LAW = SamplingLaw(max_step_tokens=24)
HOT = SamplingLaw(temperature=2.0, max_step_tokens=24)  # the shipped models are sure of themselves


GPU = [("llama", "float32", 2e-3), ("qwen2", "float64", 1e-9), ("gpt2", "float64", 1e-9)]


@dataclass(frozen=True)
class Backend:
    """One backend under contract. make: a new, cold model. tolerance: nats a token. cuts: obeys max_step_tokens."""

    name: str
    make: Callable[[Miniatures], StepModel]
    tolerance: float
    law: SamplingLaw = LAW
    eos: int = 3
    cuts: bool = True


def _miniature(architecture: str, dtype: str, tolerance: float, law: SamplingLaw = LAW) -> Backend:
    return Backend(
        f"{architecture}-{dtype}" + ("-nucleus" if law.top_p < 1 else ""),
        lambda miniatures: miniatures.language(architecture=architecture, dtype=dtype),
        tolerance,
        law,
    )


def _table(prefix: Prefix) -> dict[str, float]:
    if len(prefix.steps) > 1:
        return {"done": 0.75, "more\n\n": 0.25}
    return {"a\n\n": 0.5, "b\n\n": 0.25, "ab\n\n": 0.125, "end": 0.125}


BACKENDS = [
    _miniature("llama", "float64", 1e-9),
    _miniature("llama", "float32", 1e-4),
    _miniature("llama", "float64", 1e-9, SamplingLaw(temperature=1.3, top_p=0.8, max_step_tokens=16)),
    _miniature("qwen2", "float64", 1e-9),
    _miniature("gpt2", "float64", 1e-9),
    _miniature("gpt2", "float32", 1e-4),
    Backend("pocket-draft", lambda _: load_model("pocket:draft"), 1e-4, HOT),
    Backend("pocket-base", lambda _: load_model("pocket:base"), 1e-4, HOT),
    Backend("table", lambda _: TableModel(_table), 1e-6, eos=EOS_ID, cuts=False),
]


CUDA = [
    Backend(
        f"{architecture}-{dtype}-cuda",
        lambda miniatures, architecture=architecture, dtype=dtype: miniatures.language(  # type: ignore[misc]
            architecture=architecture, dtype=dtype, device="cuda"
        ),
        tolerance,
    )
    for architecture, dtype, tolerance in GPU
]


def walk(model: StepModel, law: SamplingLaw, length: int) -> list[Prefix]:
    """Prefixes of 0..length unfinished committed steps, sampled by the model itself."""
    prefixes = [Prefix("12 + 3 =")]
    for position in range(length):
        steps = model.sample(prefixes[-1], 8, Key(3, "walk", position, "draft"), law)
        unfinished = [step for step in steps if not step.finished]
        if not unfinished:
            break
        prefixes.append(prefixes[-1].extended(max(unfinished, key=lambda step: len(step.token_ids))))
    return prefixes


def close(found: Sequence[float], wanted: Sequence[float], steps: Sequence[Step], tolerance: float) -> None:
    """Log-probabilities agree within `tolerance` nats a token."""
    assert len(found) == len(wanted) == len(steps)
    for a, b, step in zip(found, wanted, steps, strict=True):
        assert math.isfinite(a), f"log-probability {a} of {step}"
        assert abs(a - b) <= tolerance * len(step.token_ids), f"{a} is not {b} for {step}"


def scores(model: StepModel, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[float]:
    """The log-probabilities of `model.score`."""
    return [score[0] for score in model.score(prefix, steps, law)]


def check_score_is_log_prob(backend: Backend, miniatures: Miniatures) -> None:
    """score(prefix, sample(…)) equals the log_prob the sampler returned, on a warm and on a cold model."""
    sampler, scorer = backend.make(miniatures), backend.make(miniatures)
    for prefix in walk(sampler, backend.law, 3):
        steps = sampler.sample(prefix, 8, KEY, backend.law)
        for model in (sampler, scorer):
            found = scores(model, prefix, steps, backend.law)
            close(found, [step.log_prob for step in steps], steps, backend.tolerance)


def check_batch_is_singles(backend: Backend, miniatures: Miniatures) -> None:
    """A batch's scores equal those of its members alone, and a candidate is the same in a batch of any size."""
    model = backend.make(miniatures)
    prefix = walk(model, backend.law, 1)[-1]
    steps = model.sample(prefix, 8, KEY, backend.law)
    alone = [scores(backend.make(miniatures), prefix, [step], backend.law)[0] for step in steps]
    close(scores(backend.make(miniatures), prefix, steps, backend.law), alone, steps, backend.tolerance)
    for n in (1, 3):
        fewer = backend.make(miniatures).sample(prefix, n, KEY, backend.law)
        assert [step.token_ids for step in fewer] == [step.token_ids for step in steps[:n]]
        close([step.log_prob for step in fewer], [step.log_prob for step in steps[:n]], fewer, backend.tolerance)


def check_cached_is_cold(backend: Backend, miniatures: Miniatures) -> None:
    """A prefix reached step by step, scored from, forked and rewound gives what a new model gives at once."""
    warm = backend.make(miniatures)
    prefixes = walk(warm, backend.law, 3)
    fork = prefixes[0].extended(warm.sample(prefixes[0], 4, KEY.at("fork"), backend.law)[-1])
    for prefix in (*prefixes, *reversed(prefixes), fork):
        cold = backend.make(miniatures)
        steps = warm.sample(prefix, 4, KEY, backend.law)
        again = cold.sample(prefix, 4, KEY, backend.law)
        assert [step.token_ids for step in steps] == [step.token_ids for step in again]
        close([s.log_prob for s in steps], [s.log_prob for s in again], steps, backend.tolerance)
        close(
            scores(warm, prefix, steps, backend.law),
            scores(cold, prefix, steps, backend.law),
            steps,
            backend.tolerance,
        )


def check_keys(backend: Backend, miniatures: Miniatures) -> None:
    """The same key gives the same steps; other keys and other candidate indices give other draws."""
    model = backend.make(miniatures)
    prefix = Prefix("12 + 3 =")
    steps = model.sample(prefix, 16, KEY, backend.law)
    assert model.sample(prefix, 16, KEY, backend.law) == steps
    assert len({step.token_ids for step in steps}) > 1
    others = (Key(8, "contract", 0, "draft"), Key(7, "other", 0, "draft"), Key(7, "contract", 1, "draft"), KEY.at("x"))
    for key in others:
        assert [s.token_ids for s in model.sample(prefix, 16, key, backend.law)] != [s.token_ids for s in steps]


def check_step_ends(backend: Backend, miniatures: Miniatures) -> None:
    """Steps end at the first stop id, which belongs to them, or are cut at max_step_tokens; EOS is no text."""
    model = backend.make(miniatures)
    stops = set(model.stop_ids)
    ended = 0
    for position, prefix in enumerate(walk(model, backend.law, 2)):
        for step in model.sample(prefix, 16, Key(1, "ends", position, "draft"), backend.law):
            *inner, last = step.token_ids
            assert step.finished == (last == backend.eos)
            assert "<eos>" not in step.text
            if backend.cuts:
                assert not stops.intersection(inner)
                assert last in stops or len(step.token_ids) == backend.law.max_step_tokens
                ended += last in stops
            if step.finished:
                assert not step.text.endswith("\n\n") or not step.text
    assert ended or not backend.cuts


def check_cut(backend: Backend, miniatures: Miniatures) -> None:
    """max_step_tokens = 1 and 2 cut there, and what was cut is scored as it was sampled."""
    model = backend.make(miniatures)
    for limit in (1, 2):
        law = SamplingLaw(backend.law.temperature, backend.law.top_p, limit)
        steps = model.sample(Prefix("7"), 16, KEY, law)
        assert max(len(step.token_ids) for step in steps) == limit
        close(
            scores(model, Prefix("7"), steps, law),
            [step.log_prob for step in steps],
            steps,
            backend.tolerance,
        )
