"""python -m gsi_node.models.convert GGUF FOLDER: a GGUF file as safetensors and tokenizer files, which load in seconds.

    python -m gsi_node.models.convert SmolLM2-135M-Instruct.Q4_1.gguf smollm2
    python graphs/math_solver.py --draft hf:smollm2 --base hf:smollm2 --reward verifier "What is 12 + 30?"

Quantised weights are unpacked, not improved. The folder appears whole or not at all. Exit codes: 0 written, 1 the file
cannot be read or the folder not be written, 2 the call is wrong.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from gsi_node.errors import ConfigError, GSIError, StorageError
from gsi_node.host.shell import FAILED, WRONG_CALL, Parser, complain, ending

DTYPES = ("float64", "float32", "bfloat16", "float16")


def convert(source: Path, target: Path, dtype: str = "float32") -> None:
    """Write the model and tokenizer of a GGUF file into a new folder. Raises BackendUnavailable, StorageError."""
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    from gsi_node.engine.loading import load_pretrained

    model, tokenizer = load_pretrained(AutoModelForCausalLM, source.parent, device="cpu", dtype=dtype, gguf=source.name)
    part: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
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


def main(argv: Sequence[str] | None = None) -> int:
    """Convert what the command line names."""
    parser = Parser(prog="python -m gsi_node.models.convert", description="Convert a GGUF file to safetensors, once.")
    parser.add_argument("source", metavar="FILE.gguf")
    parser.add_argument("target", metavar="FOLDER", help="where to write; must not exist yet")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    found = parser.parse_args(argv)
    source, target = (Path(os.path.expanduser(path)) for path in (found.source, found.target))
    try:
        if source.suffix != ".gguf" or not source.is_file():
            parser.error(f"{source} is no GGUF file")
        if os.path.lexists(target):
            parser.error(f"{target} exists; name a new folder")
    except ValueError as error:  # a null byte in a path
        parser.error(str(error))
    try:
        convert(source, target, found.dtype)
    except GSIError as error:
        complain(str(error))
        return WRONG_CALL if isinstance(error, ConfigError) else FAILED
    sys.stdout.write(f"{target}: use it as hf:{target}\n")
    return 0


if __name__ == "__main__":
    with ending():
        sys.exit(main())
