"""python -m gsi_node.models.convert GGUF FOLDER: a GGUF file as safetensors and tokenizer files, which load in seconds.

    python -m gsi_node.models.convert SmolLM2-135M-Instruct.Q4_1.gguf smollm2
    python graphs/math_solver.py --draft hf:smollm2 --base hf:smollm2 --reward verifier "What is 12 + 30?"

Quantised weights are unpacked, not improved. Exit codes: 0 written, 1 the file cannot be read, 2 the call is wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from transformers import AutoModelForCausalLM

from gsi_node.engine.loading import DTYPES, load_pretrained
from gsi_node.errors import GSIError


def convert(source: Path, target: Path, dtype: str = "float32") -> None:
    """Write the model and tokenizer of a GGUF file into a new folder. Raises BackendUnavailable."""
    model, tokenizer = load_pretrained(AutoModelForCausalLM, source.parent, device="cpu", dtype=dtype, gguf=source.name)
    target.mkdir(parents=True)
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def main(argv: Sequence[str] | None = None) -> int:
    """Convert what the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m gsi_node.models.convert", description="Convert a GGUF file to safetensors, once."
    )
    parser.add_argument("source", type=Path, metavar="FILE.gguf")
    parser.add_argument("target", type=Path, metavar="FOLDER", help="where to write; must not exist yet")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    found = parser.parse_args(argv)
    source, target = found.source.expanduser(), found.target.expanduser()
    if source.suffix != ".gguf" or not source.is_file():
        parser.error(f"{source} is no GGUF file")
    if target.exists():
        parser.error(f"{target} exists; name a new folder")
    try:
        convert(source, target, found.dtype)
    except GSIError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"{target}: use it as hf:{target}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
