"""Packed layers give what the layers gave that they were; what cannot be packed stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import ref

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from gsi_node.engine import packing
from gsi_node.engine.packing import PackedLinear, pack
from gsi_node.errors import ConfigError
from gsi_node.models.transformers import TransformersModel
from gsi_node.rewards.prm.in_process import TransformersPRM
from gsi_node.specs.load import load_model, load_reward
from tests.engine.company import requests, same, together
from tests.miniature import Miniatures

EVERY = ["llama", "qwen2", "mistral", "gemma2", "gemma3", "gpt2"]
IDS = torch.arange(10, 32)[None]
TOLERANCE = {"float32": 1e-4, "bfloat16": 0.05}


@pytest.fixture(autouse=True)
def _however_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "LEAST", 1)


def loaded(folder: Path, dtype: str) -> Any:
    """A model of one's own."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()


def kinds(model: nn.Module) -> list[type[nn.Module]]:
    return [type(part) for part in model.modules()]


@torch.inference_mode()
def logits(model: Any) -> Tensor:
    found: Tensor = model(input_ids=IDS, use_cache=False).logits
    return found.double()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("architecture", EVERY)
def test_a_packed_model_gives_the_same_logits(miniatures: Miniatures, architecture: str, dtype: str) -> None:
    model = loaded(miniatures.folder(architecture=architecture), dtype)
    wanted = logits(model)
    remarks = pack(model)
    assert PackedLinear in kinds(model)
    assert nn.Linear not in kinds(model)
    assert all("embeddings" in remark for remark in remarks)
    assert (logits(model) - wanted).abs().max() <= TOLERANCE[dtype] * wanted.abs().max()


def test_layers_of_one_input_are_one_product_of_the_same_bits(miniatures: Miniatures, monkeypatch: Any) -> None:
    """Too small to be packed; q, k, v and gate, up are joined none the less."""
    monkeypatch.setattr(packing, "LEAST", 1 << 18)
    model = loaded(miniatures.folder(architecture="qwen2"), "float32")
    wanted, before = logits(model), kinds(model).count(nn.Linear)
    assert pack(model) == ()
    assert before - kinds(model).count(nn.Linear) == 3 * model.config.num_hidden_layers
    assert torch.equal(logits(model), wanted)


def test_threads_that_share_a_model_get_their_own_rows(miniatures: Miniatures) -> None:
    model = loaded(miniatures.folder(), "float32")
    pack(model)
    joint = model.model.layers[0].self_attn.q_proj.joint
    one, other = torch.randn(3, 32), torch.randn(3, 32)
    for x, index in ((one, 0), (other, 0), (one, 1), (other, 1), (other, 2), (one, 2)):
        assert torch.equal(joint(x, index), joint.product(x).split(joint.sizes, dim=-1)[index])


@pytest.mark.parametrize("fault", ["absent", "refuses", "wrong"])
def test_layers_that_cannot_be_packed_stay_as_they_are(
    miniatures: Miniatures, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    model = loaded(miniatures.folder(), "float32")
    wanted = logits(model)
    if fault == "wrong":
        real = PackedLinear.forward
        monkeypatch.setattr(PackedLinear, "forward", lambda self, x: real(self, x) * 1.01)
        told = "they would give other results"
    else:

        def refuse(self: PackedLinear, layer: nn.Linear) -> None:
            if fault == "absent":
                torch.ops.mkldnn.no_such_operator  # noqa: B018
            raise RuntimeError("not on this CPU\nExceptions …")

        monkeypatch.setattr(PackedLinear, "__init__", refuse)
        told = "not on this CPU" if fault == "refuses" else "no_such_operator"
    [remark] = pack(model)
    assert remark.startswith("weights are not packed: ")
    assert told in remark
    assert PackedLinear not in kinds(model)
    assert torch.equal(logits(model), wanted)


def test_float64_is_left_alone(miniatures: Miniatures) -> None:
    model = loaded(miniatures.folder(dtype="float64"), "float64")
    before = list(model.modules())
    assert pack(model) == ()
    assert list(model.modules()) == before


def test_weights_that_were_packed_are_freed(miniatures: Miniatures) -> None:
    model = loaded(miniatures.folder(), "float32")
    weights = [ref(layer.weight) for layer in model.modules() if type(layer) is nn.Linear]
    pack(model)
    assert [weight() for weight in weights] == [None] * len(weights)


def test_a_head_that_shares_its_weights_with_the_embeddings_is_told() -> None:
    model = load_model("pocket:draft")
    assert isinstance(model, TransformersModel)
    network: Any = model.engine.model
    assert isinstance(network.lm_head, PackedLinear)
    table = network.get_input_embeddings().weight
    assert torch.equal(network.lm_head.weight.to_dense(), table)
    assert model.findings[-1] == "its head, packed beside the embeddings, takes 0 MB more: pack=false saves them"


@pytest.mark.parametrize(("load", "spec"), [(load_model, "pocket:base"), (load_reward, "pocket")])
def test_who_loads_a_model_packs_it(load: Callable[[str], Any], spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not so with pack=false, compiled or in float64."""
    monkeypatch.setattr(nn.Module, "compile", lambda self, **settings: None)
    packed, plain = load(spec), load(f"{spec}?pack=false")
    assert PackedLinear in kinds(packed.engine.model)
    assert packed.fingerprint == plain.fingerprint
    for other in (plain, load(f"{spec}?compile=true"), load(f"{spec}?dtype=float64")):
        assert kinds(other.engine.model) == kinds(plain.engine.model)


def test_a_model_of_the_callers_own_is_not_touched(tmp_path: Path) -> None:
    own = Miniatures(tmp_path)  # whose models no other test has
    for made, again in ((own.language(), own.language), (own.reward(), own.reward)):
        assert PackedLinear not in kinds(made.engine.model)
        made.pack()
        assert PackedLinear in kinds(made.engine.model)
        assert made.fingerprint
        with pytest.raises(ConfigError, match="were packed by another backend and cannot be read: load the model anew"):
            _ = again().fingerprint


def test_requests_in_company_are_those_alone(miniatures: Miniatures) -> None:
    """float32: the same tokens, and sums of up to 70 log-probabilities within 1e-4 nats."""
    language, reward = miniatures.folder(), miniatures.folder(architecture="qwen2", reward=True)

    def work(cache_bytes: int) -> list[Any]:
        options: dict[str, Any] = {"cache_bytes": cache_bytes}
        model = TransformersModel.from_pretrained(language, **options)
        return requests(model, TransformersPRM.from_pretrained(reward, **options))

    assert same(together(work(1 << 30), 1), [ask() for ask in work(0)], 1e-4)


@pytest.mark.parametrize(("dtype", "most"), [("float32", 1e-5), ("bfloat16", 0.0)])
@pytest.mark.parametrize("shape", [(896, 1152), (4864, 896)])
def test_a_row_in_company_is_the_row_alone(dtype: str, most: float, shape: tuple[int, int]) -> None:
    """As torch's own: in bfloat16 to the bit, in float32 but for rounding at one row (MKL's: at up to three)."""
    torch.manual_seed(0)
    layer = nn.Linear(*shape).to(getattr(torch, dtype))
    rows = torch.randn(96, shape[0]).to(layer.weight.dtype)
    with torch.inference_mode():
        packed = PackedLinear(layer)
        whole = packed(rows)
        for count in (1, 2, 3, 7, 16, 33, 64):
            assert (packed(rows[:count]) - whole[:count]).abs().max() <= most
