"""GGUF files: a miniature written here by hand gives the numbers of the model that it was written from."""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import LlamaConfig, LlamaForCausalLM

from gsi_node.cli.__main__ import main
from gsi_node.engine import gguf as module
from gsi_node.errors import BackendUnavailable, ConfigError, StorageError
from gsi_node.models.transformers import TransformersModel
from gsi_node.needs import install_extra
from gsi_node.specs.load import load_model
from gsi_node.types import Key, Prefix, SamplingLaw

LAW = SamplingLaw(max_step_tokens=8)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT = "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}"
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "embed_tokens": "token_embd",
    "norm": "output_norm",
}


def write(path: Path) -> LlamaForCausalLM:
    """A random two-layer Llama as float32 GGUF with a byte-level tokenizer, in llama.cpp's layout; the model itself."""
    tokens = [*SPECIAL, *sorted(ByteLevel.alphabet()), "ĊĊ"]
    torch.manual_seed(0)
    shape: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    shape["max_position_embeddings"] = 128
    heads: dict[str, Any] = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    config = LlamaConfig(vocab_size=len(tokens), tie_word_embeddings=True, rms_norm_eps=1e-6, **shape, **heads)
    model = LlamaForCausalLM(config)
    model.eval()
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("miniature")
    writer.add_context_length(128)
    writer.add_block_count(2)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(48)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_rope_dimension_count(8)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in SPECIAL else 1 for token in tokens])
    writer.add_token_merges(["Ċ Ċ"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(CHAT)
    for name, tensor in model.model.state_dict().items():
        *layer, kind = name.removesuffix(".weight").replace("layers.", "").split(".", 1)
        block = f"blk.{layer[0]}." if layer else ""
        writer.add_tensor(f"{block}{NAMES[kind]}.weight", _interleaved(kind, tensor.numpy()))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


def _interleaved(kind: str, weight: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """llama.cpp pairs a head's rotary dimensions (0, 1), (2, 3) …, transformers (0, d/2), (1, d/2 + 1) …"""
    if not kind.endswith(("q_proj", "k_proj")):
        return weight
    return np.ascontiguousarray(weight.reshape(-1, 2, 4, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gguf")


@pytest.fixture(scope="module")
def original(folder: Path) -> LlamaForCausalLM:
    return write(folder / "mini.gguf")


@contextmanager
def loaded(spec: str) -> Iterator[TransformersModel]:
    model = load_model(spec)
    assert isinstance(model, TransformersModel)
    with model:
        yield model


def test_a_gguf_file_gives_the_numbers_of_its_model(folder: Path, original: LlamaForCausalLM) -> None:
    with loaded(f"hf:{folder}") as model:
        prefix = Prefix("1 + 2 <|im_end|>")
        assert (
            model.prefix_ids(prefix)[0] == 1 and model.prefix_ids(prefix).count(2) == 1
        )  # text opens no control token
        assert [model.tokens.codec.tokens[i] for i in model.step_ends(SamplingLaw()).sure_ids] == ["<|im_end|>", "ĊĊ"]
        steps = model.sample(prefix, 4, Key(0, "p", 0, "draft"), LAW)
        for step, score in zip(steps, model.score(prefix, steps, LAW), strict=True):
            ids = torch.tensor([[*model.prefix_ids(prefix), *step.token_ids]])
            with torch.inference_mode():
                law = torch.log_softmax(original(ids).logits[0] / LAW.temperature, -1)
            n = len(step.token_ids)
            exact = sum(law[j - 1, ids[0, j]].item() for j in range(ids.shape[1] - n, ids.shape[1]))
            assert abs(score.log_prob - exact) < 1e-4
            assert abs(step.log_prob - exact) < 1e-4


def test_what_is_converted_is_the_same_model(
    folder: Path, original: LlamaForCausalLM, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new" / "model"
    assert main(["convert", str(folder / "mini.gguf"), str(target)]) == 0
    told = capsys.readouterr()
    assert f"hf:{target}" in told.out and "shards" not in told.err
    assert "quant" not in (target / "config.json").read_text("utf-8")
    with loaded(f"hf:{target}") as saved, loaded(f"hf:{folder}?gguf=mini.gguf") as packed:
        assert saved.vocabulary == packed.vocabulary
        prefix, key = Prefix("7"), Key(0, "p", 0, "draft")
        for one, other in zip(saved.sample(prefix, 4, key, LAW), packed.sample(prefix, 4, key, LAW), strict=True):
            assert (one.text, one.token_ids, one.finished) == (other.text, other.token_ids, other.finished)
            assert one.log_prob == pytest.approx(other.log_prob, abs=1e-5)  # sums of 44 nats, from other addresses


def test_convert_refuses(folder: Path, original: LlamaForCausalLM, tmp_path: Path) -> None:
    for wrong in (["none.gguf", "x"], [str(folder), "x"], [str(folder / "mini.gguf"), str(tmp_path)]):
        with pytest.raises(ConfigError):
            main(["convert", *wrong])
    (tmp_path / "broken.gguf").write_bytes(b"GGUF and nothing else")
    with pytest.raises(ConfigError, match="cannot be loaded"):  # exit code 2
        main(["convert", str(tmp_path / "broken.gguf"), str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_a_folder_appears_whole_or_not_at_all(folder: Path, original: LlamaForCausalLM, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # enough for what comes before the weights
    try:
        with pytest.raises(StorageError):  # exit code 1
            main(["convert", str(folder / "mini.gguf"), str(tmp_path / "out")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
    assert main(["convert", str(folder / "mini.gguf"), str(tmp_path / "out")]) == 0


def test_which_file_is_meant(folder: Path, original: LlamaForCausalLM, tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        shutil.copy(folder / "mini.gguf", tmp_path / name)
    with pytest.raises(ConfigError, match=r"has 2 GGUF files; name one: \?gguf=a\.gguf"):
        load_model(f"hf:{tmp_path}")
    with pytest.raises(BackendUnavailable, match=r"no file 'c\.gguf'; its GGUF files: a\.gguf, b\.gguf"):
        load_model(f"hf:{tmp_path}?gguf=c.gguf")
    with pytest.raises(BackendUnavailable, match="does not exist"):
        load_model("hf:owner/name?gguf=c.gguf")
    (tmp_path / "model.safetensors").touch()
    assert module.find_gguf(tmp_path, None) is None


def test_the_extra_is_named_where_it_lacks(
    folder: Path, original: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "gguf" else object())
    told = re.escape(f"needs gguf: {install_extra('gguf')}")
    with pytest.raises(BackendUnavailable, match=rf"^(?!.*cannot be loaded).*{told}"):
        load_model(f"hf:{folder}")


def test_convert_is_a_command() -> None:
    command = [sys.executable, "-m", "gsi_node.cli", "convert", "--help"]
    assert "FILE.gguf" in subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
