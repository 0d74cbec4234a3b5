"""Every backend under the one contract of gsi_node/protocols.py, and planted mistakes that it must notice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from gsi_node.core.rng import Stream
from gsi_node.engine import decode, requests, runner, sampling
from gsi_node.engine.batch import Batch
from gsi_node.engine.kv import KV
from gsi_node.engine.seats import Group
from gsi_node.errors import ConfigError, ContractBroken
from gsi_node.models import transformers as module
from gsi_node.protocols import StepModel
from gsi_node.testing.models import CHECKS, Subject, check_cut, check_score_is_log_prob, check_step_ends, close, scores
from gsi_node.types import Key, Prefix, SamplingLaw
from tests.miniature import Miniatures
from tests.models import contract
from tests.models.contract import BACKENDS, RULED, Backend

LLAMA = BACKENDS[0]


@pytest.mark.parametrize(
    ("backend", "check"),
    [
        pytest.param(backend, check, id=f"{backend.name}-{check.__name__}")
        for backend in BACKENDS
        for check in CHECKS
        if backend.cuts or check is not check_cut
    ],
)
def test_contract(backend: Backend, check: Callable[[Subject], None], miniatures: Miniatures) -> None:
    check(backend.subject(miniatures))


@pytest.mark.parametrize("backend", RULED, ids=lambda backend: backend.name)
@pytest.mark.parametrize("check", [check_score_is_log_prob, check_step_ends], ids=lambda check: check.__name__)
def test_contract_under_every_rule(backend: Backend, check: Callable[[Subject], None], miniatures: Miniatures) -> None:
    check(backend.subject(miniatures))


@pytest.mark.gpu
@pytest.mark.parametrize("backend", contract.CUDA, ids=lambda backend: backend.name)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_contract_on_cuda(backend: Backend, check: Callable[[Subject], None], miniatures: Miniatures) -> None:
    check(backend.subject(miniatures))


@pytest.mark.gpu
def test_cuda_draws_what_the_cpu_draws(miniatures: Miniatures) -> None:
    law = SamplingLaw(max_step_tokens=24)
    here, there = (miniatures.language(dtype="float64", device=device) for device in ("cpu", "cuda"))
    prefix = Prefix("12 + 3 =")
    wanted = here.sample(prefix, 8, contract.KEY, law)
    found = there.sample(prefix, 8, contract.KEY, law)
    assert [step.token_ids for step in found] == [step.token_ids for step in wanted]
    # transformers computes llama's norms and rotary angles in float32, and the two devices round them apart
    close([s.log_prob for s in found], [s.log_prob for s in wanted], wanted, 1e-6)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_types_on_cuda(miniatures: Miniatures, dtype: str) -> None:
    model = miniatures.language(dtype=dtype, device="cuda")
    steps = model.sample(Prefix("12 + 3 ="), 8, contract.KEY, contract.LAW)
    close(scores(model, Prefix("12 + 3 ="), steps, contract.LAW), [s.log_prob for s in steps], steps, 0.1)


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_backend_has_the_protocol(backend: Backend, miniatures: Miniatures) -> None:
    model = backend.make(miniatures)
    assert isinstance(model, StepModel)
    assert model.fingerprint == backend.make(miniatures).fingerprint
    assert list(model.eos_ids) == sorted(set(model.eos_ids))
    model.supports(backend.law)
    steps = model.sample(Prefix("12 + 3 ="), 16, contract.KEY, backend.law)
    assert all("<eos>" not in step.text for step in steps)


async def test_async_twins_give_what_the_sync_methods_give(miniatures: Miniatures) -> None:
    model = miniatures.language(dtype="float64")
    prefix, law = Prefix("1+2"), contract.LAW
    steps = await model.asample(prefix, 4, contract.KEY, law)
    assert steps == model.sample(prefix, 4, contract.KEY, law)
    assert await model.ascore(prefix, steps, law) == model.score(prefix, steps, law)


def _end_token_dropped(patch: pytest.MonkeyPatch) -> None:
    real = sampling.target_log_probs

    def mutant(logits: Tensor, rows: Sequence[Sequence[int]], law: SamplingLaw) -> list[float]:
        return real(logits, [row[:-1] or row for row in rows], law)

    patch.setattr(module, "target_log_probs", mutant)


def _temperature_forgotten(patch: pytest.MonkeyPatch) -> None:
    real = sampling.Softmax.of
    untempered = SimpleNamespace(of=lambda z, law, memory: real(z, replace(law, temperature=1.0), memory))
    patch.setattr(decode, "Softmax", untempered)


def _position_off_by_one(patch: pytest.MonkeyPatch) -> None:
    real = Batch.open
    patch.setattr(Batch, "open", lambda self, length: real(self, length) + (len(self._seats.slots) > 1))


def _padding_attended(patch: pytest.MonkeyPatch) -> None:
    def left(rows: Sequence[Sequence[int]], device: torch.device) -> Tensor:
        width = max(map(len, rows))
        return torch.tensor([[*([0] * (width - len(row))), *row] for row in rows], device=device)

    patch.setattr(runner, "pad", left)


def _one_stream_for_all(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(requests, "Stream", lambda key, candidate: Stream(key, 0))


def _stream_ignores_the_key(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(requests, "Stream", lambda key, candidate: Stream(Key(0, "", 0, ""), candidate))


def _stop_token_left_out(patch: pytest.MonkeyPatch) -> None:
    real = module.TransformersModel._step
    patch.setattr(
        module.TransformersModel,
        "_step",
        lambda self, prefix, ids, values: real(self, prefix, ids[:-1] or ids, values[:-1] or values),
    )


def _harvest_off_by_one(patch: pytest.MonkeyPatch) -> None:
    real = Batch.cut

    def mutant(self: Batch, group: Group, row: int, count: int) -> KV:
        return real(self, group, row, count).roll(1, -2)

    patch.setattr(Batch, "cut", mutant)


@pytest.mark.parametrize(
    "plant",
    [
        _end_token_dropped,
        _temperature_forgotten,
        _position_off_by_one,
        _padding_attended,
        _one_stream_for_all,
        _stream_ignores_the_key,
        _stop_token_left_out,
        _harvest_off_by_one,
    ],
    ids=lambda plant: plant.__name__,
)
def test_a_planted_mistake_breaks_the_contract(
    plant: Callable[[pytest.MonkeyPatch], None], miniatures: Miniatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    assert any(_fails(check, miniatures) for check in CHECKS)


def _fails(check: Callable[[Subject], None], miniatures: Miniatures) -> bool:
    try:
        check(LLAMA.subject(miniatures))
    except (ContractBroken, ConfigError):  # ConfigError: the engine's own probe noticed
        return True
    return False
