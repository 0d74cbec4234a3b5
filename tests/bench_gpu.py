"""`make bench-gpu`: what is to be measured wherever a GPU can be had, as parts of one run of at most 8 minutes.

Each part is a command, ended where the time is over; what it printed stands in OUT/PART.txt, and its sizes, each as it
is finished, in OUT/PART.json. A part that failed or was ended does not stop the next.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from gsi_node.host.options import named_path

SECONDS = 480
BENCH = "gsi_node.cli bench --device cuda"
SHAPES = f"{BENCH} --shape qwen2.5-1.5b,qwen2.5-7b,qwen2.5-prm-7b --repeats 2"
POCKET = "--draft pocket:draft?device=cuda --base pocket:base?device=cuda --reward pocket?device=cuda"
PARTS = {
    "n16": f"{SHAPES} --n 16 --prefix 256,2048",
    "graphs": f"{BENCH} --graphs qwen2.5-1.5b --n 4,16,64 --prefix 256,2048",
    "tests": "pytest -m gpu -q",
    "graphs-7b": f"{BENCH} --graphs qwen2.5-7b --n 16 --prefix 256",
    "lookahead": f"{BENCH} {POCKET} --lookahead 2 --n 16 --size 8",
    "judge-early": f"{BENCH} {POCKET} --judge-early --n 16 --size 8",
    "n4": f"{SHAPES} --n 4 --prefix 256,2048",
    "n64": f"{SHAPES} --n 64 --prefix 256,2048",
}
"""The commands by name, in the order in which they run: those that are missed most stand first."""


def run_parts(names: list[str], out: Path, seconds: float) -> dict[str, int | None]:
    """Exit codes by name, None of a part that was ended; one that the time did not reach is not there."""
    out.mkdir(parents=True, exist_ok=True)
    until, codes = time.monotonic() + seconds, dict[str, int | None]()
    for name in names:
        left = until - time.monotonic()
        if left <= 0:
            break
        command = [sys.executable, "-m", *PARTS[name].split()]
        if "--shape" in command:
            command += ["--json", str(out / f"{name}.json")]
        with (out / f"{name}.txt").open("w") as file:
            try:
                codes[name] = subprocess.run(
                    command, stdout=file, stderr=subprocess.STDOUT, timeout=left, check=False
                ).returncode
            except subprocess.TimeoutExpired:
                codes[name] = None
        sys.stdout.write(f"{name}: {'ended' if codes[name] is None else f'exit code {codes[name]}'}\n")
        sys.stdout.write((out / f"{name}.txt").read_text())
        sys.stdout.flush()
    return codes


def main(argv: list[str] | None = None) -> int:
    """0 where every part ended well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="(default: all)")
    parser.add_argument("--out", type=named_path, required=True)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    options = parser.parse_args(argv)
    names = options.parts or list(PARTS)
    codes = run_parts(names, options.out, options.seconds)
    missed = [name for name in names if name not in codes]
    if missed:
        sys.stdout.write(f"no time was left for {', '.join(missed)}\n")
    return int(bool(missed) or any(codes.values()) or None in codes.values())


if __name__ == "__main__":
    sys.exit(main())
