"""Neural JKO sampling against ground truth, its sampling floor, published values, HMC and MALA.

    python -m evals jko --targets 8modes,8peaky,mustache,funnel,gmm10 --out DIR

Trains one model a target and seed in DIR/TARGET/seed-N (resumable), draws samples, and writes DIR/jko.json and
DIR/jko.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from evals import jko_mcmc
from evals.jko_table import markdown
from gsi_node.errors import ConfigError, GSIError
from gsi_node.neural_jko.config import PRESETS, configured
from gsi_node.neural_jko.metrics import energy_distance, log_z, log_z_lower, mode_error, mode_weights, sampling_floor
from gsi_node.neural_jko.run import Run
from gsi_node.neural_jko.stack import replace_text
from gsi_node.neural_jko.targets import KnownTarget, Mixture, named
from gsi_node.neural_jko.train import generator_for
from gsi_node.shell import Parser, ending

Row = dict[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--targets", default="8modes,8peaky,mustache,funnel,gmm10", help="names, separated by commas")
    parser.add_argument("--out", required=True, type=Path, help="folder; the same command goes on in it")
    parser.add_argument("--seeds", default="0,1,2", help="one model a seed")
    parser.add_argument("--samples", type=int, default=5000, help="draws that are compared with as many of the truth")
    parser.add_argument("--preset", default="cpu", choices=list(PRESETS), help="cpu, or the paper's setting for a GPU")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--baselines", default="mala,hmc", help="of mala, hmc; or none")
    parser.add_argument("--chain-steps", type=int, default=1000, help="transitions of a chain of MALA; HMC: a tenth")


def main(options: argparse.Namespace) -> int:
    console = Console()
    try:
        seeds = [int(seed) for seed in options.seeds.split(",")]
        targets = [named(name) for name in options.targets.split(",")]
        baselines = [] if options.baselines == "none" else options.baselines.split(",")
        unknown = [name for name in baselines if name not in jko_mcmc.ALGORITHMS]
        if unknown or options.samples < 2:
            raise ConfigError(f"--baselines: no {', '.join(unknown)}" if unknown else "--samples: want at least 2")
        rows: list[Row] = []
        for target in targets:
            rows += rows_of(target, seeds, baselines, options, console)
            replace_text(options.out / "jko.json", json.dumps(rows, indent=1) + "\n")
        text = markdown(rows)
        replace_text(options.out / "jko.md", text)
        console.print(text, soft_wrap=True, highlight=False, markup=False)
        return 0
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except GSIError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command goes on\n")
        return 130


def rows_of(
    target: KnownTarget, seeds: Sequence[int], baselines: Sequence[str], options: argparse.Namespace, console: Console
) -> list[Row]:
    """One row a sampler and seed, and one for the floor; each is kept in a file of its own once it is known."""
    n, folder = options.samples, options.out / target.name

    def floor() -> Row:
        mean, spread = sampling_floor(target, n, generator_for(0, "floor", n), repeats=10)
        return {"target": target.name, "method": "truth", "energy_distance": mean, "std": spread, "n": n}

    rows = [kept(folder / f"floor-{n}.json", floor)]
    for seed in seeds:
        config = configured(options.preset, target.name, seed=seed)
        run = Run(target, config, folder / f"seed-{seed}", device=options.device)
        console.print(f"{target.name}, seed {seed}: {len(run.finished())} of {len(config.plan())} layers exist")
        rows.append(kept(folder / f"seed-{seed}" / f"row-{n}.json", partial(jko_row, run, n, seed)))
        for name in baselines:
            steps = max(1, options.chain_steps // (jko_mcmc.LEAPFROGS if name == "hmc" else 1))
            path = folder / f"{name}-{steps}-{seed}-{n}.json"
            rows.append(kept(path, partial(mcmc_row, name, target, n, steps, seed)))
    return rows


def kept(path: Path, make: Callable[[], Row]) -> Row:
    """The row in a file, made and written where there is none."""
    if path.exists():
        try:
            return dict(json.loads(path.read_text("utf-8")))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: cannot be read ({error}); remove it, and it is measured again") from error
    row = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, json.dumps(row, indent=1) + "\n")
    return row


def jko_row(run: Run, n: int, seed: int) -> Row:
    """Train what is missing, draw n samples, compare. `seconds` … are of training; sampling_… of these draws."""
    stack = run.complete()
    start, before = time.perf_counter(), stack.evaluate.count
    particles = stack.sample(n, generator_for(seed, "evaluation", n, stack.device), log_g=True)
    spent, log_w = time.perf_counter() - start, particles.log_weights()
    return {
        **compared("neural JKO", named(run.target.name), particles.x.cpu(), seed),
        "log_z_lower": log_z_lower(log_w).value,
        "log_z": log_z(log_w).value,
        **{key: sum(r[key] for r in run.finished()) for key in ("seconds", "cpu_seconds", "evaluations")},
        "sampling_seconds": spent,
        "sampling_evaluations": stack.evaluate.count - before,
    }


def mcmc_row(name: str, target: KnownTarget, n: int, steps: int, seed: int) -> Row:
    chains = jko_mcmc.run(name, target, n, steps, seed)
    about = {key: getattr(chains, key) for key in ("seconds", "evaluations", "step_size", "acceptance")}
    return {**compared(name.upper(), target, chains.x, seed), **about, "steps": steps}


def compared(method: str, target: KnownTarget, x: torch.Tensor, seed: int) -> Row:
    """Samples against as many of the truth (drawn afresh for each seed, the same ones for every method)."""
    if not bool(torch.isfinite(x).all()):
        raise ConfigError(f"{method} on {target.name}: samples that are not finite")
    truth = target.sample(len(x), generator_for(seed, "truth", len(x)))
    row: Row = {"target": target.name, "method": method, "seed": seed, "n": len(x)}
    row["energy_distance"] = energy_distance(x, truth)
    if isinstance(target, Mixture):
        weights = mode_weights(x, target.means)
        row |= {"mode_weights": weights, "mode_error": mode_error(weights)}
    return row


if __name__ == "__main__":
    shell = Parser(prog="python -m evals.jko", description=(__doc__ or "").split("\n\n")[0])
    add_arguments(shell)
    with ending():
        sys.exit(main(shell.parse_args()))
