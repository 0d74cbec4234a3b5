"""Models with sliding windows: what they give is what their own plain forward gives, and a wrong window is noticed."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

from gsi_node.engine.batch import Batch
from gsi_node.engine.kv import KVShape
from gsi_node.engine.seats import Group
from gsi_node.errors import ConfigError
from gsi_node.graph.build import compile_gsi
from gsi_node.models.transformers import TransformersModel
from gsi_node.specs.load import load_model, load_reward
from gsi_node.step.config import GSIConfig
from gsi_node.types import Key, Prefix, SamplingLaw, Step
from tests.engine.plain import plain, settings
from tests.miniature import WINDOW, Miniatures

KINDS = ("mistral", "gemma2", "gemma3")
KEY = Key(5, "windows", 0, "draft")
LAW = SamplingLaw(max_step_tokens=2 * WINDOW)
SHORT = SamplingLaw(max_step_tokens=3)
TOLERANCE = 1e-5
"""Nats a token: eager attention takes its softmax in float32. A window one token off moves them by more than 0.001."""


def apart(miniatures: Miniatures, architecture: str, model: TransformersModel, law: SamplingLaw = LAW) -> float:
    """The largest difference, in nats a token, between what `model` says of a step, sampled or given, and a full
    forward without any cache; over prefixes shorter than the window, as long, a token longer, and much longer."""
    alone, draw, worst = plain(miniatures, architecture), random.Random(0), 0.0

    @cache
    def log_probs(ids: tuple[int, ...]) -> Tensor:
        with torch.inference_mode():
            logits = alone(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
        return torch.log_softmax(logits[:, : model.tokens.size] / law.temperature, -1)

    base = len(model.prefix_ids(Prefix("")))
    for length in (base + 1, WINDOW - 2, WINDOW, WINDOW + 1, 3 * WINDOW):
        prefix = Prefix("".join(draw.choices("123+=", k=length - base)))
        prompt = model.prefix_ids(prefix)
        assert len(prompt) == length
        given = [
            Step("", tuple(draw.randrange(9, 60) for _ in range(size)), 0.0, False)
            for size in (1, WINDOW, law.max_step_tokens)
            if size <= law.max_step_tokens
        ]
        sampled = model.sample(prefix, 3, KEY, law)
        values = [*(step.log_prob for step in sampled), *(score.log_prob for score in model.score(prefix, given, law))]
        for step, value in zip([*sampled, *given], values, strict=True):
            own = log_probs(prompt + step.token_ids)[len(prompt) - 1 :]
            wanted = math.fsum(float(own[j, token]) for j, token in enumerate(step.token_ids))
            worst = max(worst, abs(value - wanted) / len(step.token_ids))
    return worst


@pytest.mark.parametrize("architecture", KINDS)
def test_numbers_are_those_of_the_models_own_forward(miniatures: Miniatures, architecture: str) -> None:
    model = miniatures.language(**settings(architecture))
    assert apart(miniatures, architecture, model) < TOLERANCE
    assert apart(miniatures, architecture, model, SHORT) < TOLERANCE  # behind what was harvested


def test_masks_are_those_of_the_definition() -> None:
    """Every pair of a query and a key, by hand: groups of prefixes of several lengths that join, leave and are moved,
    and windows of several lengths in one forward."""
    draw, batch = random.Random(1), Batch(KVShape(1, 1, 2, torch.float64, torch.device("cpu")))
    fed: dict[Group, list[int]] = {}  # tokens of the prefix, and those fed since
    for _ in range(60):
        if len(batch.groups) < 4:
            lengths = [draw.randrange(12) for _ in range(draw.randrange(1, 3))]
            kvs = [[torch.zeros(1, 2, 1, length, 2, dtype=torch.float64)] for length in lengths]
            made = batch.join(kvs, [draw.randrange(1, 3) for _ in lengths], 2)
            fed |= dict(zip(made, [[length, 0] for length in lengths], strict=True))
        new = draw.randrange(1, 4)
        batch.open(new)
        for window in (None, 1, 2, 5, 9, 100):
            bias = batch._bias(window, new)
            tokens = batch._seats.tokens
            own = batch.end + new - batch._seats.start
            found = torch.zeros(1, 1, 1, 1, 1, 1, dtype=torch.float64) if bias is None else bias
            found = found.expand(len(batch.groups), 1, 1, 1, new, tokens + own)[:, 0, 0, 0]
            for g, group in enumerate(batch.groups):
                length, before = fed[group]
                keys = [t if t < length else None for t in range(tokens)]  # where each stands; None: it is another's
                keys += [None if i < 0 else length + i for i in range(before + new - own, before + new)]
                for i, row in enumerate(found[g].tolist()):
                    at = length + before + i
                    seen = [k is not None and k <= at and (window is None or k > at - window) for k in keys]
                    assert row == [0.0 if sees else -math.inf for sees in seen]
        batch.commit(new)
        for group in batch.groups:
            fed[group][1] += new
        if draw.random() < 0.4:
            batch.leave(draw.sample(batch.groups, draw.randrange(1, len(batch.groups) + 1)))


def test_a_run_whose_draft_is_its_base_has_no_log_ratio(miniatures: Miniatures) -> None:
    """As users load them: steps sampled, scored and committed behind a prompt longer than the window."""
    config = GSIConfig(n=3, max_steps=4, max_step_tokens=20, threshold=1e9, record="candidates")
    with load_model(f"hf:{miniatures.folder(architecture='gemma3')}") as model:  # type: ignore[attr-defined]
        graph = compile_gsi(draft=model, base=model, reward=load_reward("verifier"), config=config)
        steps = graph.invoke({"problem": "12 + 3 ="})["steps"]
        assert len(model.prefix_ids(Prefix("12 + 3 ="))) > WINDOW
    batches = [step["rejected"] for step in steps]
    ratios = [candidate["log_ratio"] for batch in batches for candidate in batch["candidates"]]
    assert len(ratios) == 3 * len(steps) > 0
    assert max(map(abs, ratios)) < 1e-3


Plant = Callable[[pytest.MonkeyPatch], None]


def _wider_by(tokens: int) -> Plant:
    def plant(patch: pytest.MonkeyPatch) -> None:
        real = Batch._bias

        def bias(self: Batch, window: int | None, length: int) -> Tensor | None:
            wider = real(self, window and window + tokens, length)
            if window:
                self._columns.biases[window] = self._columns.biases.pop(window + tokens)
            return wider

        patch.setattr(Batch, "_bias", bias)

    plant.__name__ = f"_wider_by_{tokens}"
    return plant


def _no_window(patch: pytest.MonkeyPatch) -> None:
    real = Batch._bias
    patch.setattr(Batch, "_bias", lambda self, window, length: real(self, None, length))


def _in_every_layer(patch: pytest.MonkeyPatch) -> None:
    """As if one window were that of the model: layers with full attention slide too."""
    real = Batch._bias
    seen: list[int] = []

    def bias(self: Batch, window: int | None, length: int) -> Tensor | None:
        seen.extend([window] if window else [])
        return real(self, window or (seen[-1] if seen else 2), length)

    patch.setattr(Batch, "_bias", bias)


def _columns_for_positions(patch: pytest.MonkeyPatch) -> None:
    real = Batch.changed

    def changed(self: Batch) -> None:
        real(self)
        if self.groups:
            columns = torch.arange(self._seats.positions.shape[1]).expand_as(self._seats.positions)
            self._seats = replace(self._seats, positions=columns)

    patch.setattr(Batch, "changed", changed)


def _ignored_where(own: bool) -> Plant:
    """The window masks the prefix alone, or own tokens alone."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        real = Batch._bias

        def bias(self: Batch, window: int | None, length: int) -> Tensor | None:
            slid, full = real(self, window, length), real(self, None, length)
            if slid is full or slid is None:
                return slid
            full = torch.zeros_like(slid) if full is None else full.expand_as(slid)
            tokens = self._seats.tokens
            parts = (slid, full) if own else (full, slid)
            return torch.cat((parts[0][..., :tokens], parts[1][..., tokens:]), dim=-1)

        patch.setattr(Batch, "_bias", bias)

    plant.__name__ = "_ignored_in_own_tokens" if own else "_ignored_in_the_prefix"
    return plant


def _softcap_forgotten(patch: pytest.MonkeyPatch) -> None:
    real = Batch.attend
    patch.setattr(
        Batch,
        "attend",
        lambda self, layer, query, scale, softcap=None, window=None: real(self, layer, query, scale, None, window),
    )


MISTAKES = [
    _wider_by(1),
    _wider_by(-1),
    _no_window,
    _in_every_layer,
    _columns_for_positions,
    _ignored_where(own=True),
    _ignored_where(own=False),
    _softcap_forgotten,
]


@pytest.mark.parametrize("plant", MISTAKES, ids=lambda plant: plant.__name__)
def test_a_planted_mistake_is_noticed(plant: Plant, miniatures: Miniatures, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the full forward, and by the check at load."""
    model = miniatures.language(**settings("gemma2"))
    plant(monkeypatch)
    if plant is not _columns_for_positions:  # which needs company to show: of one prefix, columns are positions
        assert apart(miniatures, "gemma2", model) > 100 * TOLERANCE
    for dtype in ("float64", "bfloat16", "float16"):
        with pytest.raises(ConfigError, match="other logits in a batch than alone"):
            miniatures.language(**{**settings("gemma2"), "dtype": dtype})
