"""A GGUF file as safetensors and tokenizer files, which load in seconds."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from gsi_node.errors import StorageError


def convert(source: Path, target: Path, dtype: str = "float32") -> None:
    """Write the model and tokenizer of a GGUF file into a new folder. Raises BackendUnavailable, StorageError."""
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    from gsi_node.engine.loading import load_pretrained, without_bars

    model, tokenizer = load_pretrained(AutoModelForCausalLM, source.parent, device="cpu", dtype=dtype, gguf=source.name)
    part: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        with without_bars():
            model.save_pretrained(part)
            tokenizer.save_pretrained(part)
        part.chmod(0o755)
        part.rename(target)
        part = None
    except (OSError, SafetensorError) as error:
        raise StorageError(f"{target}: cannot be written: {error}") from error
    finally:
        if part is not None:
            shutil.rmtree(part)
