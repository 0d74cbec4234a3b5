"""Loading models in process: safetensors only, no remote code, a local folder never touches the network.

Everything that can be wrong with a folder, a hub name or a device is said in this package's own errors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as hf_logging

from gsi_node.engine.gguf import find_gguf, load_gguf
from gsi_node.engine.packing import is_packed
from gsi_node.errors import BackendUnavailable, ConfigError
from gsi_node.host.paths import expanded
from gsi_node.text.folders import find_source, hint
from gsi_node.text.reading import first_line, reading
from gsi_node.text.tokenizers import load_tokenizer

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
QUANTIZATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "bnb-8bit": ("BitsAndBytesConfig", {"load_in_8bit": True}),
    "bnb-4bit": ("BitsAndBytesConfig", {"load_in_4bit": True}),
    "quanto-int8": ("QuantoConfig", {"weights": "int8"}),
    "quanto-int4": ("QuantoConfig", {"weights": "int4"}),
    "hqq-4bit": ("HqqConfig", {"nbits": 4, "group_size": 64}),
}
"""Names of quantized loading: a configuration class of transformers and its settings."""
_WHOLE_TENSOR_BYTES = 1 << 20
_SAMPLES = 4096


def find_device(device: str) -> torch.device:
    """ "cpu", "cuda", "cuda:1", or "auto": CUDA where there is one, else the CPU."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"device {device!r} is unknown; use cpu, cuda, cuda:1 or auto") from error
    if found.type == "meta":
        raise ConfigError("device 'meta' holds no numbers; use cpu, cuda, cuda:1 or auto")
    if found.type == "cuda" and not torch.cuda.is_available():
        raise BackendUnavailable(f"device {device!r} was asked for, but torch sees no CUDA; use device=cpu or auto")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise BackendUnavailable(f"device {device!r} was asked for; torch sees {torch.cuda.device_count()} devices")
    return found


def find_dtype(dtype: str) -> torch.dtype:
    """The torch dtype of a name."""
    if dtype not in DTYPES:
        raise ConfigError(f"dtype {dtype!r} is unknown; use one of {', '.join(DTYPES)}")
    return DTYPES[dtype]


def find_quantization(name: str | None) -> dict[str, Any]:
    """What to give to from_pretrained for a name of QUANTIZATIONS; nothing for None."""
    if name is None:
        return {}
    if name not in QUANTIZATIONS:
        raise ConfigError(f"quantization {name!r} is unknown; use one of {', '.join(QUANTIZATIONS)}")
    kind, settings = QUANTIZATIONS[name]
    try:
        return {"quantization_config": getattr(transformers, kind)(**settings)}
    except ImportError as error:
        raise BackendUnavailable(
            f"quantization {name!r} needs a library that is missing: {first_line(error)}"
        ) from error


def load_pretrained(
    auto: type[Any],
    name_or_path: str | Path,
    *,
    device: str,
    dtype: str,
    compile: bool = False,
    quantization: str | None = None,
    gguf: str | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model (in eval mode, on `device`, in `dtype`) and tokenizer of a local folder or a hub name.

    auto: the transformers Auto class to load with. A checkpoint that lacks weights of that class is refused: they
    would be random. gguf: a file in the folder (None: the only one, where there are no safetensors).
    compile: by torch.compile, at first use: same tokens, seldom faster. The graph breaks at every
    attention, layers and batch shapes compile anew, and after torch's limit of 8 variants the rest runs uncompiled (the
    shipped draft: 10 s of compiling, then a third slower). quantization: one of QUANTIZATIONS.
    """
    wanted, kind, smaller = find_device(device), find_dtype(dtype), find_quantization(quantization)
    folder = expanded(name_or_path)
    packed = find_gguf(folder, gguf) if folder.is_dir() else gguf
    if packed is not None:
        if smaller:
            raise ConfigError(f"GGUF file {packed} is unpacked when it is read: leave quantization={quantization} out")
        if not folder.is_dir():
            raise BackendUnavailable(f"model folder {folder} does not exist; ?gguf={packed} names a file in a folder")
        with reading(f"GGUF file {folder / packed}"), without_bars(local=True):
            model, tokenizer = load_gguf(auto, folder, packed, kind)
        return _ready(_moved(model, wanted), compile), tokenizer
    if smaller:  # a quantized model cannot be moved
        smaller["device_map"] = {"": wanted}
    source, local = find_source(name_or_path)
    with reading(f"model {source!r}", hint(local)), without_bars(local):
        model, info = auto.from_pretrained(
            source,
            dtype=kind,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=local,
            output_loading_info=True,
            **smaller,
        )
    missing = sorted(info["missing_keys"])
    if missing:
        raise BackendUnavailable(
            f"model {source!r} has no weights for {', '.join(missing[:4])}{' …' if len(missing) > 4 else ''}, which "
            f"{type(model).__name__} needs; is it another kind of model than asked for?"
        )
    if getattr(model.config.get_text_config(), "num_hidden_layers", 1) < 1:
        raise BackendUnavailable(f"model {source!r} has no layers (num_hidden_layers in its config.json)")
    tokenizer = load_tokenizer(source, local)
    return _ready(model if smaller else _moved(model, wanted), compile), tokenizer


def _moved(model: Any, device: torch.device) -> PreTrainedModel:
    try:
        moved: PreTrainedModel = model.to(device)
    except (RuntimeError, AssertionError) as error:  # no such device in this torch, or no room on it
        raise BackendUnavailable(f"the model cannot be put on device {str(device)!r}: {first_line(error)}") from error
    return moved


def _ready(model: PreTrainedModel, compile: bool) -> PreTrainedModel:
    if compile:
        model.compile(dynamic=True)
    model.eval()
    return model


@contextmanager
def without_bars(local: bool = True) -> Iterator[None]:
    """No progress bars of transformers where a folder is local; downloads keep theirs."""
    switch = local and hf_logging.is_progress_bar_enabled()
    if switch:
        hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        if switch:
            hf_logging.enable_progress_bar()


def model_digest(model: PreTrainedModel, extra: tuple[object, ...]) -> str:
    """A digest of config, dtype, `extra` and weights.

    Of each tensor: name, shape, dtype and its bytes; of a tensor above 1 MiB 4096 evenly spaced elements, its first
    and last among them, stand for the bytes: an edit that misses all of them goes unseen. Raises ConfigError for a
    model whose layers are packed.
    """
    if is_packed(model):
        raise ConfigError(
            f"the weights of {type(model).__name__} were packed by another backend and cannot be read: load the model "
            "anew, or with pack=false there"
        )
    config = model.config.to_dict()
    for key in ("_name_or_path", "transformers_version", "dtype", "torch_dtype"):
        config.pop(key, None)
    digest = blake2b(digest_size=16)
    digest.update(json.dumps([config, str(model.dtype), extra], sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        flat = tensor.detach().reshape(-1)
        if flat.numel() * flat.element_size() > _WHOLE_TENSOR_BYTES:
            flat = flat[torch.linspace(0, flat.numel() - 1, _SAMPLES, dtype=torch.float64).long().to(flat.device)]
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} ".encode())
        digest.update(flat.contiguous().view(torch.uint8).cpu().numpy().tobytes())
    return digest.hexdigest()
