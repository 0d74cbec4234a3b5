"""Own densities of four kinds, parameters drawn by three seeds, with the defaults: `make own-densities`, about an hour.

    python -m tests.neural_jko.own_densities --out DIR [--only rings-0,rings-1] [--samples 20000]

Trains a model in DIR/NAME (resumable), keeps DIR/NAME-SAMPLES.json, and prints a line each. Ends with 1 where a
distance to the truth is above the aim and the run did not say so itself.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path

from evals.report.text_table import TextTable
from evals.run.guard import guarded
from gsi_node.errors import ConfigError
from gsi_node.host.files import read_object, write
from gsi_node.host.options import named_path, positive
from gsi_node.host.shell import Parser, ending
from gsi_node.neural_jko.config import JKOConfig
from gsi_node.neural_jko.lock import held
from gsi_node.neural_jko.metrics import distance
from gsi_node.neural_jko.quality import model_numbers
from gsi_node.neural_jko.run import Run
from gsi_node.neural_jko.targets import OwnTarget
from gsi_node.neural_jko.train import generator_for
from gsi_node.types import Plain
from tests.neural_jko.own import OWN, OwnTruth

AIM = 5e-4  # ρ, coordinates over their true standard deviations
SPREAD = 100_000  # draws of the truth that these are from
COLUMNS = ("density", "ρ", "ρ of the pilot", "ESS of the flows", "KL(p ‖ g/Z)", "E log w", "log E w", "CPU s", "said")


def measured(truth: OwnTruth, seed: int, folder: Path, n: int) -> Plain:
    """Train what is missing, and compare n draws, as an own density: the run does not know log Z."""
    target = OwnTarget(truth.log_density, truth.dim, truth.name)
    run = Run(target, JKOConfig(seed=seed), folder)
    stack, records = run.complete(), run.finished()
    drawn = stack.sample(n, generator_for(seed, "own", n), log_g=True)
    numbers = model_numbers(drawn, stack.layers, target)
    spread = truth.sample(SPREAD, generator_for(seed, "spread", 0)).std(0)
    exact = truth.sample(n, generator_for(seed, "truth", n)) / spread
    found = run.ground.pilot
    assert found is not None
    resampled = found.points.resampled(n, generator_for(seed, "resampled", n))
    return {
        **numbers,
        "rho": distance(drawn.x / spread, exact).relative,
        "pilot_rho": distance(resampled / spread, exact).relative,
        "ess": [record["ess"] for record in records if record["kind"] == "flow"],
        "cpu_seconds": sum(record["cpu_seconds"] for record in records),
    }


def line(name: str, numbers: Plain) -> list[str]:
    said = numbers.get("warning", "")
    return [
        name,
        f"{numbers['rho']:.1e}" + ("" if numbers["rho"] <= AIM else ", missed" if said else ", missed and not said"),
        f"{numbers['pilot_rho']:.1e}",
        ", ".join(f"{ess:.2f}" for ess in numbers["ess"]),
        f"{numbers['kl']:.4f}",
        f"{numbers['log_z_lower']:.4f}",
        f"{numbers['log_z']:.4f}",
        f"{numbers['cpu_seconds']:.0f}",
        said,
    ]


def main() -> int:
    parser = Parser(prog="python -m tests.neural_jko.own_densities", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--out", required=True, type=named_path, help="folder; the same command goes on in it")
    parser.add_argument("--only", help="names, separated by commas, as rings-0")
    parser.add_argument("--samples", type=positive, default=20_000, help="draws, compared with as many of the truth")
    return guarded(partial(_measure, parser.parse_args()))


def _measure(options: argparse.Namespace) -> int:
    seeds = {f"{kind}-{seed}": (kind, seed) for seed in range(3) for kind in OWN}
    names = options.only.split(",") if options.only else list(seeds)
    if unknown := [name for name in names if name not in seeds]:
        raise ConfigError(f"--only: no {unknown[0]}; there are {', '.join(seeds)}")
    if options.samples < 2:
        raise ConfigError("--samples: want at least 2")
    missed, lines = 0, []
    with held(options.out):
        for name in names:
            kind, seed = seeds[name]
            path = options.out / f"{name}-{options.samples}.json"
            numbers = read_object(path)
            if numbers is None:
                numbers = measured(OWN[kind](seed), seed, options.out / name, options.samples)
                write(path, json.dumps(numbers, indent=1) + "\n")
            missed += numbers["rho"] > AIM and "warning" not in numbers
            lines.append(line(name, numbers))
            sys.stderr.write("  ".join(lines[-1]) + "\n")
    sys.stdout.write(TextTable("Own densities", COLUMNS, lines).markdown())
    return int(missed > 0)


if __name__ == "__main__":
    with ending():
        sys.exit(main())
