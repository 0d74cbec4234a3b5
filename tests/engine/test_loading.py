"""What can be wrong with a folder, a hub name or a device; what must never happen: network, pickles, guesses."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from gsi_node.engine.loading import load_pretrained
from gsi_node.errors import BackendUnavailable, ConfigError
from gsi_node.models.transformers import TransformersModel
from gsi_node.text.tokenizers import load_tokenizer
from tests.miniature import STEP_ENDS, Miniatures


def load(source: str | Path, device: str = "cpu", dtype: str = "float32") -> Any:
    """The causal language model and tokenizer of a folder or name."""
    return load_pretrained(AutoModelForCausalLM, source, device=device, dtype=dtype)


@pytest.fixture
def folder(miniatures: Miniatures, tmp_path: Path) -> Path:
    """A miniature to break."""
    return shutil.copytree(miniatures.folder(), tmp_path / "model")


def test_a_local_folder_never_touches_the_network(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("a local folder asked for the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    model, tokenizer = load(folder)
    assert model.dtype == torch.float32
    assert not model.training
    assert tokenizer.eos_token == "<eos>"


def test_the_dtype_is_the_one_asked_for(folder: Path) -> None:
    assert load(folder, dtype="bfloat16")[0].dtype == torch.bfloat16
    assert load(folder, dtype="float64")[0].dtype == torch.float64


@pytest.mark.parametrize("source", ["/no/such/model", "./none", "~/none-of-this", "a/b/c", Path("owner/name")])
def test_missing_folders(source: str | Path) -> None:
    with pytest.raises(BackendUnavailable, match="does not exist; give a folder, or owner/name"):
        load(source)


def test_incomplete_folders(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(
        BackendUnavailable, match=r"no safetensors weights \(it has: .*pytorch_model.bin.*save_pretrained"
    ):
        load(folder)
    (folder / "model.safetensors").write_bytes(b"not safetensors at all")
    with pytest.raises(BackendUnavailable, match="cannot be loaded"):
        load(folder)
    shutil.move(folder / "pytorch_model.bin", folder / "model.safetensors")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(BackendUnavailable, match="has no tokenizer"):
        load(folder)
    (folder / "config.json").unlink()
    with pytest.raises(BackendUnavailable, match=r"has no config\.json"):
        load(folder)


def test_weights_that_would_be_random_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["num_hidden_layers"] += 1
    config.pop("layer_types", None)
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(BackendUnavailable, match=r"no weights for model\.layers\.2"):
        load(folder)


def test_an_unreachable_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(source: str, **options: object) -> None:
        assert options["trust_remote_code"] is False
        assert options["use_safetensors"] is True
        assert options["local_files_only"] is False
        raise OSError("We couldn't connect to 'https://huggingface.co' to load the files.\nMore lines.")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", unreachable)
    with pytest.raises(
        BackendUnavailable, match=r"'owner/name' cannot be loaded: We couldn't connect.*give its folder"
    ):
        load("owner/name")


def test_devices(folder: Path) -> None:
    with pytest.raises(ConfigError, match="device 'gpu' is unknown"):
        load(folder, device="gpu")
    with pytest.raises(ConfigError, match="dtype 'half' is unknown"):
        load(folder, dtype="half")
    if not torch.cuda.is_available():
        with pytest.raises(BackendUnavailable, match="torch sees no CUDA; use device=cpu or auto"):
            load(folder, device="cuda")
        assert load(folder, device="auto")[0].device.type == "cpu"


def test_the_tokenizer_does_what_its_file_says(miniatures: Miniatures) -> None:
    """transformers from 5.8 on rebuilds qwen2 tokenizers from the vocabulary alone; this one's file says otherwise."""
    source = miniatures.folder(architecture="qwen2")
    told = Tokenizer.from_file(str(source / "tokenizer.json")).encode("1.\n\n", add_special_tokens=False).ids
    assert load_tokenizer(str(source), local=True).encode("1.\n\n", add_special_tokens=False) == told
    model = miniatures.language(architecture="qwen2")
    assert [model.tokens.codec.tokens[i] for i in model.encode("".join(STEP_ENDS))] == ["\n\n", ".\n\n", "\n\n\n"]
    assert model.vocabulary == miniatures.language().vocabulary


def test_an_eos_that_is_an_ordinary_word_is_no_eos(folder: Path) -> None:
    """A config without eos_token_id inherits its architecture's default, which may be any word of the tokenizer."""
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [3, 5, 40]}), "utf-8")
    assert TransformersModel.from_pretrained(folder).tokens.eos_ids == (3, 5)


def test_models_with_other_caches_are_refused(miniatures: Miniatures) -> None:
    model, tokenizer = load(miniatures.folder(architecture="qwen2"))
    model.config.layer_types = ["linear_attention"] * model.config.num_hidden_layers
    with pytest.raises(ConfigError, match=r"of the kind linear_attention.*full attention and sliding windows only"):
        TransformersModel(model, tokenizer)


def test_quantization_is_passed_through(folder: Path) -> None:
    with pytest.raises(ConfigError, match="quantization 'int3' is unknown; use one of bnb-8bit"):
        load_pretrained(AutoModelForCausalLM, folder, device="cpu", dtype="float32", quantization="int3")
    for name in ("bnb-4bit", "quanto-int8"):
        with pytest.raises(BackendUnavailable, match=r"requires|needs|install|library"):
            load_pretrained(AutoModelForCausalLM, folder, device="cpu", dtype="float32", quantization=name)


def test_compile_is_passed_through(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **settings: seen.append(settings))
    TransformersModel.from_pretrained(folder, compile=True)
    TransformersModel.from_pretrained(folder)
    assert seen == [{"dynamic": True}]
