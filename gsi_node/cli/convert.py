"""Convert a GGUF file to safetensors and tokenizer files, once; these load in seconds.

  gsi convert SmolLM2-135M-Instruct.Q4_1.gguf smollm2
  gsi solve --draft hf:smollm2 --base hf:smollm2 --reward verifier "12 + 30?"

Quantised weights are unpacked, not improved. The folder appears whole or not
at all.
"""

from __future__ import annotations

import argparse
import os
import sys

from gsi_node.errors import ConfigError
from gsi_node.host.options import path_text
from gsi_node.host.paths import expanded
from gsi_node.host.shell import DONE, loading

DTYPES = ("float64", "float32", "bfloat16", "float16")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The file, the folder, and the numbers' type."""
    parser.add_argument("source", type=path_text, metavar="FILE.gguf")
    parser.add_argument("target", type=path_text, metavar="FOLDER", help="where to write; must not exist yet")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")


def main(options: argparse.Namespace) -> int:
    """Convert what the command line names; the exit code."""
    source, target = expanded(options.source), expanded(options.target)
    if source.suffix != ".gguf" or not source.is_file():
        raise ConfigError(f"{source} is no GGUF file")
    if os.path.lexists(target):
        raise ConfigError(f"{target} exists; name a new folder")
    from gsi_node.models.convert import convert

    with loading():
        convert(source, target, options.dtype)
    sys.stdout.write(f"{target}: use it as hf:{target}\n")
    return DONE
