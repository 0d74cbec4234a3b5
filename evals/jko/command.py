"""Neural JKO sampling against ground truth and its noise, its own pilot, published values, HMC, MALA and SMC.

    python -m evals jko --targets 8modes,8peaky,mustache,funnel,gmm10 --out DIR

Trains one model a target and seed in DIR/TARGET/seed-N (resumable), draws samples, and writes DIR/jko.json, DIR/jko.md
and DIR/jko.png; the pages of neural_jko.picture lie beside each model.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from evals.jko.baselines import Baseline, baselines, check
from evals.jko.folder import claim_folder
from evals.jko.marginals import marginal_test
from evals.jko.measurement import Measurement, kept
from evals.jko.sheet import DRAWS, Shown, draw_sheet
from evals.jko.table import tables
from evals.jko.truth import FileTruth, bare, read_truth
from evals.run.guard import guarded
from gsi_node.errors import ConfigError
from gsi_node.host.files import write
from gsi_node.host.options import named_path, positive
from gsi_node.host.screen import Screen, screen
from gsi_node.host.shell import Parser, ending
from gsi_node.neural_jko.lock import held
from gsi_node.neural_jko.metrics import mode_error, relative_noise
from gsi_node.neural_jko.picture import draw_pages
from gsi_node.neural_jko.pilot import Pilot
from gsi_node.neural_jko.presets import PRESETS, configured
from gsi_node.neural_jko.quality import coverage_numbers, model_numbers, truth_numbers
from gsi_node.neural_jko.run import Run
from gsi_node.neural_jko.targets import KnownTarget, Target, named, with_truth
from gsi_node.neural_jko.train import generator_for
from gsi_node.types import Plain

TOLD = ("log_z_lower", "log_z_lower_error", "log_z", "log_z_error", "kl", "kl_error")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--targets", default="8modes,8peaky,mustache,funnel,gmm10", help="names, separated by commas")
    parser.add_argument("--out", required=True, type=named_path, help="folder; the same command goes on in it")
    parser.add_argument("--seeds", default="0,1,2", help="one model a seed")
    parser.add_argument("--target-seed", type=int, help="the means of mixtures are drawn from it")
    parser.add_argument("--truth", type=named_path, metavar="FILE", help="draws of the target that has no sampler: cox")
    parser.add_argument("--samples", type=positive, default=5000, help="draws, compared with as many of the truth")
    parser.add_argument("--preset", default="cpu", choices=list(PRESETS), help="cpu, or the paper's setting for a GPU")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--baselines", default="hmc,mala,smc", help="of hmc, mala, smc; or none")


def main(options: argparse.Namespace) -> int:
    return guarded(partial(_measure, options))


def _measure(options: argparse.Namespace) -> int:
    console = screen()
    seeds = integers("--seeds", options.seeds)
    targets = with_truths([named(name, options.target_seed) for name in options.targets.split(",")], options.truth)
    algorithms = [] if options.baselines == "none" else options.baselines.split(",")
    check(algorithms)
    if options.samples < 2:
        raise ConfigError("--samples: want at least 2")
    found: list[Measurement] = []
    with held(options.out):
        for target in targets:
            found += measurements(target, seeds, algorithms, options, console)
            write(options.out / "jko.json", json.dumps([one.plain() for one in found], indent=1) + "\n")
        text = "\n".join(f"### {one.title}\n\n{one.markdown()}" for one in tables(found))
        write(options.out / "jko.md", text)
        draw_sheet([shown(target, seeds[0], found, options) for target in targets], options.out / "jko.png")
    sys.stdout.write(text)
    return 0


def with_truths(targets: Sequence[Target], path: Path | None) -> list[KnownTarget]:
    """The targets, the one without a sampler with the draws of a file. Raises ConfigError."""
    unknown = [target.name for target in targets if not isinstance(target, KnownTarget)]
    if path is not None and len(unknown) != 1:
        raise ConfigError(f"--truth {path}: for one target without a sampler; of --targets {len(unknown)} have none")
    known = (
        target if path is None or isinstance(target, KnownTarget) else read_truth(path, target) for target in targets
    )
    return [with_truth(target) for target in known]


def integers(option: str, text: str) -> list[int]:
    """Integers with commas between. Raises ConfigError."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"{option} {text[:60]!r}: want integers with commas between") from error


def measurements(
    target: KnownTarget, seeds: Sequence[int], algorithms: Sequence[str], options: argparse.Namespace, console: Screen
) -> list[Measurement]:
    """One a sampler and seed, and one for the noise; each is kept in a file of its own once it is known."""
    n, folder = options.samples, options.out / target.name
    claim_folder(folder, target)
    found = [kept(folder / f"noise-{n}.json", partial(noise, target, n))]
    for seed in seeds:
        run = run_of(target, seed, options)
        console.show(f"{target.name}, seed {seed}: {len(run.finished())} of {len(run.config.plan())} layers exist")
        own = kept(folder / f"seed-{seed}" / f"row-{n}.json", partial(of_jko, run, target, n, seed))
        found.append(own)
        if run.ground.pilot is not None:
            of_resample = partial(of_pilot, run.ground.pilot, target, n, seed)
            found.append(kept(folder / f"seed-{seed}" / f"pilot-{n}.json", of_resample))
        for one in baselines(algorithms, run.ground.pilot):
            path = folder / f"seed-{seed}" / f"{one.file}-{n}.json"
            found.append(kept(path, partial(of_baseline, one, target, own, seed)))
    return found


def run_of(target: KnownTarget, seed: int, options: argparse.Namespace) -> Run:
    """The run of a seed, in a folder of its own."""
    config = configured(options.preset, target.name, {"seed": seed})
    return Run(bare(target), config, options.out / target.name / f"seed-{seed}", device=options.device)


def shown(target: KnownTarget, seed: int, found: Sequence[Measurement], options: argparse.Namespace) -> Shown:
    """What the sheet says of a target: fresh draws of a model, and its measured ρ."""
    stack = run_of(target, seed, options).stack()
    x = stack.sample(DRAWS, generator_for(seed, "draw", len(stack.layers), stack.device)).x.cpu()
    (rho,) = (one.rho for one in found if (one.target, one.seed, one.method) == (target.name, seed, "neural JKO"))
    return Shown(bare(target), x, target.sample(DRAWS, generator_for(seed, "drawn truth", 0)), rho)


def noise(target: KnownTarget, n: int) -> Measurement:
    """The truth against itself: the standard deviation of ρ, whose expectation is 0."""
    spread = relative_noise(target, n, generator_for(0, "noise", n))
    return Measurement(target=target.name, method="truth", rho=0.0, std=spread, n=n, dim=target.dim)


def of_jko(run: Run, target: KnownTarget, n: int, seed: int) -> Measurement:
    """Train what is missing, draw n samples, compare."""
    stack = run.complete()
    start, used, before = time.perf_counter(), time.process_time(), stack.evaluate.count
    particles = stack.sample(n, generator_for(seed, "evaluation", n, stack.device), log_g=True)
    cost: Plain = {
        "sampling_seconds": time.perf_counter() - start,
        "sampling_cpu_seconds": time.process_time() - used,
        "sampling_evaluations": stack.evaluate.count - before,
    }
    draw_pages(run, particles.x.cpu(), target.sample(n, generator_for(seed, "drawn truth", n)))
    numbers, layers = model_numbers(particles, stack.layers, target), run.finished()
    flows = [layer["ess"] for layer in layers if layer["kind"] == "flow"]
    covered = coverage_numbers(stack, target, n, generator_for(seed, "coverage", n))
    if isinstance(target, FileTruth):
        covered["forward_kl_error"] = math.hypot(covered["forward_kl_error"], target.log_z_error)
    return replace(
        compared("neural JKO", target, particles.x.cpu(), seed),
        **{key: numbers[key] for key in TOLD},
        **{key: sum(layer[key] for layer in layers) for key in ("seconds", "cpu_seconds", "evaluations")},
        **covered,
        **cost,
        log_z_truth=target.log_z,
        flows=len(flows),
        flow_ess=flows[-1] if flows else None,
    )


def of_pilot(pilot: Pilot, target: KnownTarget, n: int, seed: int) -> Measurement:
    """The pilot's own resample: what the model adds to it is a density and fresh draws."""
    x = pilot.points.resampled(n, generator_for(seed, "pilot's resample", n))
    return replace(
        compared("pilot", target, x, seed), log_z=pilot.log_z, log_z_truth=target.log_z, evaluations=pilot.evaluations
    )


def of_baseline(baseline: Baseline, target: KnownTarget, own: Measurement, seed: int) -> Measurement:
    """As many samples as the model's, from as many evaluations as it spent on training and on these."""
    x, about = baseline.draw(target, (own.evaluations or 0) + (own.sampling_evaluations or 0), own.n, seed)
    return replace(compared(baseline.method, target, x, seed), **about)


def compared(method: str, target: KnownTarget, x: torch.Tensor, seed: int) -> Measurement:
    """Samples against as many of the truth (drawn afresh for each seed, the same ones for every method)."""
    if not bool(torch.isfinite(x).all()):
        raise ConfigError(f"{method} on {target.name}: samples that are not finite")
    numbers = truth_numbers(x, target, generator_for(seed, "truth", len(x)))
    marginals = marginal_test(x, target.sample(len(x), generator_for(seed, "marginals", len(x))))
    weights = numbers.get("mode_weights")
    return Measurement(
        target=target.name,
        method=method,
        seed=seed,
        n=len(x),
        dim=target.dim,
        mode_error=None if weights is None else mode_error(weights),
        ks_rejected=marginals.rejected,
        ks_least_p=marginals.least_p,
        **numbers,
    )


if __name__ == "__main__":
    shell = Parser(prog="python -m evals.jko.command", description=(__doc__ or "").split("\n\n")[0])
    add_arguments(shell)
    with ending():
        sys.exit(main(shell.parse_args()))
