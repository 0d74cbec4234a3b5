"""Neural JKO on a GPU: what a step of the preset `paper` costs there, and one full run at the paper's sample size.

    python -m evals jko-gpu --part steps,mustache --out DIR

At most eight minutes on one GPU. A finished part is a line of DIR/gpu.jsonl; an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial

import torch

from evals.jko.command import of_jko
from evals.jko.steps import turn
from evals.run.guard import guarded
from gsi_node.errors import ConfigError
from gsi_node.host.files import write
from gsi_node.host.options import named_path
from gsi_node.neural_jko.check import refuse_device
from gsi_node.neural_jko.known import Mustache
from gsi_node.neural_jko.lock import held
from gsi_node.neural_jko.presets import configured
from gsi_node.neural_jko.run import Run
from gsi_node.types import Plain

CPU_THREADS = 2
TINY_STEPS: Plain = {"batch_size": 64, "particles": 128}
TINY_RUN: Plain = {
    "pilot_evaluations": 8000, "likelihood_steps": 2, "rounds": 0, "width": 4, "first_rejections": 1,
    "calibration": 64, "weighing": 64, "optimizer": "adam",
}  # fmt: skip


def steps(options: argparse.Namespace) -> Plain:
    """Milliseconds a step of `paper` on mustache, on the device (wall) and on two CPU cores (wall, two threads)."""
    config, threads = configured("paper", "mustache", TINY_STEPS if options.tiny else {}), torch.get_num_threads()
    there = turn(config, 2, 3 if options.tiny else 50, options.device, waited)
    torch.set_num_threads(CPU_THREADS)
    try:
        here = turn(config, 2, 3, "cpu", time.perf_counter)
    finally:
        torch.set_num_threads(threads)
    return {"device": options.device, "ms": there.whole, "cpu_ms": here.whole, "cpu_threads": CPU_THREADS}


def waited() -> float:
    """Seconds on the wall, at which all that CUDA was asked is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def mustache(options: argparse.Namespace) -> Plain:
    """The defaults on the device, and as many draws as the paper measures on."""
    target = Mustache()
    config = configured("cpu", "mustache", TINY_RUN if options.tiny else {})
    folder = options.out / ("tiny" if options.tiny else "mustache")
    run = Run(target, config, folder, device=options.device)
    return of_jko(run, target, 200 if options.tiny else 50_000, 0).plain()


PARTS: dict[str, Callable[[argparse.Namespace], Plain]] = {"steps": steps, "mustache": mustache}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--part", default=",".join(PARTS), help="of steps, mustache; separated by commas")
    parser.add_argument("--out", required=True, type=named_path, help="folder; a finished part is not done again")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="so small that it runs anywhere; its numbers say nothing")


def main(options: argparse.Namespace) -> int:
    return guarded(partial(_measure, options))


def _measure(options: argparse.Namespace) -> int:
    parts = options.part.split(",")
    if unknown := [name for name in parts if name not in PARTS]:
        raise ConfigError(f"--part: no {unknown[0]}; there are {', '.join(PARTS)}")
    refuse_device(options.device)
    with held(options.out):
        path = options.out / "gpu.jsonl"
        done = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
        for name in parts:
            if (name, options.tiny) in [(line["part"], line["tiny"]) for line in done]:
                continue
            done.append({"part": name, "tiny": options.tiny, **PARTS[name](options)})
            write(path, "".join(json.dumps(line) + "\n" for line in done))
            sys.stdout.write(json.dumps(done[-1]) + "\n")
    return 0
