"""GGUF files as ordinary models: every weight unpacked to the asked dtype, the tokenizer rebuilt from the file.

transformers reads such a file slowly (up to minutes); `gsi convert` does it once and for all.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from gsi_node.errors import BackendUnavailable, ConfigError
from gsi_node.needs import install_extra

NEEDED = ("gguf", "accelerate")  # packages, both in the extra


def find_gguf(folder: Path, name: str | None) -> str | None:
    """The GGUF file of a folder to load: the one named, or the only one where there are no safetensors, or None."""
    files = sorted(path.name for path in folder.iterdir() if path.suffix == ".gguf")
    if name is not None:
        if name not in files:
            raise BackendUnavailable(f"model folder {folder} has no file {name!r}; its GGUF files: {_listed(files)}")
        return name
    if not files or any(folder.glob("*.safetensors*")):
        return None
    if len(files) > 1:
        raise ConfigError(f"model folder {folder} has {len(files)} GGUF files; name one: ?gguf={files[0]}")
    return files[0]


def load_gguf(auto: type[Any], folder: Path, name: str, dtype: torch.dtype) -> tuple[Any, PreTrainedTokenizerBase]:
    """Model and tokenizer of one file, as if they had been saved with save_pretrained. OSError, ValueError … pass."""
    lacking = [package for package in NEEDED if find_spec(package) is None]
    if lacking:
        raise BackendUnavailable(f"{folder / name}: a GGUF file needs {' and '.join(lacking)}: {install_extra('gguf')}")
    source: dict[str, Any] = {"gguf_file": name, "local_files_only": True, "trust_remote_code": False}
    unpacked = getattr(transformers, "GgufConfig", None)  # else newer releases may keep blocks and fetch kernels
    quantization = {} if unpacked is None else {"quantization_config": unpacked(dequantize=True)}
    model, info = auto.from_pretrained(folder, dtype=dtype, output_loading_info=True, **source, **quantization)
    missing = sorted(info["missing_keys"])
    if missing:
        raise BackendUnavailable(f"{folder / name} has no weights for {', '.join(missing[:4])}, which the model needs")
    plain(model)
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, **source)
    return model, tokenizer


def plain(model: PreTrainedModel) -> None:
    """Take the memory of the file from an unpacked model, which save_pretrained would otherwise refuse to write."""
    model.hf_quantizer = None  # type: ignore[assignment]
    for config in (model.config, model.config.get_text_config()):
        for key in ("quantization_config", "_pre_quantization_dtype"):
            if hasattr(config, key):
                delattr(config, key)
    model.config.architectures = [type(model).__name__]


def _listed(files: list[str]) -> str:
    return ", ".join(files) if files else "none"
