"""CUDA graphs: what a CPU can show of them, and on CUDA the same tokens as without."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from gsi_node.engine import merging
from gsi_node.engine.batch import Batch
from gsi_node.engine.fixed import FixedBatch
from gsi_node.engine.graphs import CudaRecorder
from gsi_node.engine.merging import Mask, is_mergeable, on_cuda
from gsi_node.errors import SpecError
from gsi_node.models.transformers import TransformersModel
from gsi_node.specs.grammar import unless_false
from gsi_node.specs.load import load_model
from gsi_node.step.config import GSIConfig
from gsi_node.tools.doctor import Doctor
from gsi_node.types import Ends, Key, Prefix, SamplingLaw, Step
from tests.engine.company import models, requests, same, together
from tests.engine.taped import recorded
from tests.engine.test_merging import hidden
from tests.miniature import Miniatures

LAW = SamplingLaw(temperature=0.8, max_step_tokens=30, ends=Ends(()))


def drawn(model: TransformersModel, number: int = 0, n: int = 6) -> list[Step]:
    return model.sample(Prefix(f"12 + {number} ="), n, Key(number, "p", 0, "draft"), LAW)


def test_a_model_that_cannot_be_recorded_goes_on_without_and_says_so_once(
    miniatures: Miniatures, caplog: pytest.LogCaptureFixture
) -> None:
    """Really: this torch or this machine has no CUDA, or no GPU."""
    model, plain = miniatures.language(dtype="float64"), miniatures.language(dtype="float64")
    recorder = CudaRecorder("a model", torch.device("cuda", 99))
    with recorded(model, by=recorder), caplog.at_level(logging.WARNING, "gsi_node.engine"):
        assert model.findings == plain.findings
        for number in range(3):
            assert same([s.log_prob for s in drawn(model, number)], [s.log_prob for s in drawn(plain, number)])
        [told] = model.findings[len(plain.findings) :]
        assert told.startswith("decodes without CUDA graphs: ")
        assert [record.getMessage() for record in caplog.records] == [f"a model {told}"]
        assert type(model.engine.schedule.decoder.batch) is Batch


def test_the_doctor_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from gsi_node.tools import doctor

    def load(spec: str) -> Any:
        model: Any = load_model(spec)
        model.engine.runner.recorder = CudaRecorder("a model", torch.device("cuda", 99))
        return model

    monkeypatch.setattr(doctor, "load_model", load)
    out = io.StringIO()
    Doctor(GSIConfig(n=2, max_steps=2), "1 + 1", out).examine("pocket:draft", "pocket:base", "pocket")
    assert out.getvalue().count("decodes without CUDA graphs: ") == 2


def test_graphs_are_for_cuda_and_can_be_left_out() -> None:
    assert unless_false("auto")
    assert not unless_false("false")
    for graphs in ("auto", "false"):
        model: Any = load_model(f"pocket:draft?graphs={graphs}")
        assert model.engine.runner.recorder is None
    with pytest.raises(SpecError, match="graphs=true.*auto or false"):
        load_model("pocket:draft?graphs=true")


def kernel(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, *rest: Any, scale: float) -> tuple[Tensor, ...]:
    """CUDA's, as documented by torch's own description of its shapes: ℓ for a multiple of 32 queries, o laid out by
    token; NaN for a query that sees nothing; a mask by eights."""
    scores = scale * q @ k.mT
    if bias is not None:
        assert bias.shape == scores.shape
        assert bias.dtype == q.dtype
        assert not bias.stride(2) % merging.ALIGNED
        scores = scores + bias
    log_norm = torch.nn.functional.pad(scores.logsumexp(-1), (0, -q.shape[2] % 32), value=torch.nan)
    result = (torch.softmax(scores, dim=-1) @ v).transpose(1, 2).contiguous().transpose(1, 2)
    return result, log_norm, torch.zeros(()), torch.zeros(())


@pytest.fixture
def _as_on_cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch.ops.aten, "_scaled_dot_product_efficient_attention", kernel)
    monkeypatch.setattr(merging, "attended", on_cuda)
    is_mergeable.cache_clear()
    yield
    is_mergeable.cache_clear()


@pytest.mark.usefixtures("_as_on_cuda")
@pytest.mark.parametrize("tokens", [5, 16])
def test_what_surrounds_the_kernel_of_cuda(tokens: int) -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(3, 2, length, 8) for length in (9, tokens, tokens))
    mask = hidden(3, 9, tokens)
    mask[:, ::3] = -torch.inf
    for given in (None, Mask.of(mask), Mask.of(mask[:1]), Mask.of(mask[:, 1:2])):
        found, wanted = on_cuda(q, k, v, 0.3, given), in_float64(q, k, v, given)
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, wanted, strict=True))


def in_float64(q: Tensor, k: Tensor, v: Tensor, mask: Mask | None) -> tuple[Tensor, Tensor]:
    scores = 0.3 * q.double() @ k.double().mT + (0 if mask is None else mask.values)
    return torch.softmax(scores, dim=-1).nan_to_num().float() @ v, scores.logsumexp(-1).float()


@pytest.mark.usefixtures("_as_on_cuda")
def test_models_decode_alike_around_the_kernel_of_cuda(miniatures: Miniatures, monkeypatch: pytest.MonkeyPatch) -> None:
    """float32 with every wrapper that CUDA has, against one softmax."""
    from gsi_node.engine import batch as batches

    assert is_mergeable(torch.float32, torch.device("cpu"), 8)
    monkeypatch.setattr(batches, "attended", on_cuda)
    model, plain = miniatures.language(), miniatures.language()
    with recorded(model):
        found = [drawn(model, number) for number in range(2)]
    monkeypatch.setattr(batches, "is_mergeable", lambda dtype, device, width: False)
    wanted = [drawn(plain, number) for number in range(2)]
    assert same([[s.token_ids for s in steps] for steps in found], [[s.token_ids for s in steps] for steps in wanted])
    assert same(
        [[s.log_prob for s in steps] for steps in found], [[s.log_prob for s in steps] for steps in wanted], 1e-4
    )


def test_torch_has_the_kernel_of_cuda_with_these_arguments() -> None:
    """By what torch says of its shapes."""
    q, k = (torch.empty(2, 2, length, 8, device="meta", dtype=torch.bfloat16) for length in (3, 5))
    blind = torch.zeros(2, 1, 1, device="meta", dtype=torch.bool)
    result, log_norm = on_cuda(q, k, k, 0.3, Mask(torch.empty(2, 1, 1, 5, device="meta"), blind))
    assert (result.shape, log_norm.shape, log_norm.dtype) == ((2, 2, 3, 8), (2, 2, 3), torch.float32)


@pytest.mark.gpu
@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt2", "mistral", "gemma2"])
def test_graphs_give_what_is_drawn_without_on_cuda(miniatures: Miniatures, architecture: str) -> None:
    """float64, in company; to 1e-5 nats a step (the norms of llama and qwen2 are float32)."""
    eager = models(miniatures, architecture, "cuda", graphs=False)[0]
    model, prm = models(miniatures, architecture, "cuda")
    wanted = [work() for work in requests(eager, prm)]
    for seed in range(3):
        assert same(together(requests(model, prm), seed), wanted, 1e-5)
    assert model.findings == eager.findings  # nothing was given up
    batch = model.engine.schedule.decoder.batch
    assert isinstance(batch, FixedBatch)
    assert len(batch.recordings)


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "within"), [("float32", 1e-3), ("bfloat16", 0.2), ("float16", 0.05)])
def test_rounding_is_all_that_graphs_change_on_cuda(dtype: str, within: float) -> None:
    where = f"pocket:draft?device=cuda&dtype={dtype}"
    model, plain = load_model(where), load_model(f"{where}&graphs=false")
    assert isinstance(model, TransformersModel)
    assert isinstance(plain, TransformersModel)
    pairs = [pair for i in range(4) for pair in zip(drawn(model, i, 16), drawn(plain, i, 16), strict=True)]
    alike = [abs(a.log_prob - b.log_prob) for a, b in pairs if a.token_ids == b.token_ids]
    assert len(alike) >= len(pairs) // 2
    assert max(alike) < within


@pytest.mark.gpu
def test_a_forward_that_python_reads_is_not_recorded_on_cuda(miniatures: Miniatures) -> None:
    model = miniatures.language(dtype="float64", device="cuda")
    wanted = [step.token_ids for step in drawn(miniatures.language(dtype="float64", device="cuda"))]

    def read(module: Any, args: Any, output: Any) -> None:
        assert float(output.logits.abs().max()) > 0

    hook = model.engine.model.register_forward_hook(read)
    try:
        for _ in range(3):
            assert [step.token_ids for step in drawn(model)] == wanted
    finally:
        hook.remove()
    assert "decodes without CUDA graphs" in model.findings[-1]
    assert [step.token_ids for step in drawn(miniatures.language(dtype="float64", device="cuda"))] == wanted


@pytest.mark.gpu
def test_models_on_one_device_work_side_by_side(miniatures: Miniatures) -> None:
    """Each on a stream of its own; recording one does not stop the other."""
    several = [miniatures.language(dtype="float64", device="cuda") for _ in range(3)]
    assert len({model.engine.worker.stream for model in several}) == 3
    work: list[Callable[[], list[Step]]] = [partial(drawn, m, i) for i in range(6) for m in several]
    wanted = [[step.token_ids for step in each()] for each in work]
    with ThreadPoolExecutor(12) as pool:
        for _ in range(3):
            found = [future.result() for future in [pool.submit(each) for each in work]]
            assert [[step.token_ids for step in steps] for steps in found] == wanted
    assert not any("without" in told for model in several for told in model.findings)


@pytest.mark.gpu
def test_no_attention_weights_are_held_on_cuda(miniatures: Miniatures) -> None:
    """Scoring 16 rows of 60 tokens behind 150: the weights of one layer alone would be 8 MB in float32."""
    model = miniatures.language(device="cuda", dtype="bfloat16")
    prefix = Prefix("12+3*4-5=6 " * 12)
    steps = [Step("1" * 60, tuple(7 + (3 * i + j) % 50 for j in range(60)), 0.0, False) for i in range(16)]
    model.score(prefix, steps, LAW)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    model.score(prefix, steps, LAW)
    assert torch.cuda.max_memory_allocated() - before < 5 << 20
