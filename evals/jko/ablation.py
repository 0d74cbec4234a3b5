"""What of neural JKO's defaults matters: each setting changed alone, trained anew, compared with the default.

    python -m evals jko-ablate --targets mustache,gmm10,funnel --seeds 0,1 --samples 20000 --out DIR

One run a target, factor and seed in DIR/TARGET/FACTOR/seed-N (resumable); writes DIR/ablation.json and
DIR/ablation.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from evals.jko.command import integers, of_jko
from evals.jko.measurement import Measurement, kept
from evals.jko.table import mean_and_error
from evals.report.text_table import TextTable
from evals.run.guard import guarded
from gsi_node.errors import ConfigError, DegenerateWeights, NotNormalisable
from gsi_node.host.files import read_object, write
from gsi_node.host.options import named_path, positive
from gsi_node.host.screen import screen
from gsi_node.neural_jko.config import JKOConfig
from gsi_node.neural_jko.lock import held
from gsi_node.neural_jko.presets import configured
from gsi_node.neural_jko.run import Run
from gsi_node.neural_jko.targets import KnownTarget, named, with_truth
from gsi_node.types import Plain

DEFAULT = "default"
COMMON: Plain = {"blocks": 0}  # a block would mend what a setting spoils
_REVERSE: Plain = {"likelihood_steps": 0, "rounds": 0, "steps": JKOConfig().likelihood_steps}
_IDENTITY: Plain = {**_REVERSE, "steps": 1, "optimizer": "adam", "learning_rate": 1e-12, "final_learning_rate": 1e-12}
_LAST: Plain = {"first_rejections": 0, "proposal_ess": 1.0}  # what is wider than g serves rejections
FACTORS: dict[str, Plain] = {
    DEFAULT: {},
    "no-points": _REVERSE,
    "no-rounds": {"rounds": 0},
    "no-rejections": _LAST,
    "rejections-alone": _IDENTITY,
    "reverse-kl-alone": {**_REVERSE, **_LAST},
    "adam": {"optimizer": "adam"},
    "tanh": {"activation": "tanh"},
    "silu": {"activation": "silu"},
    "no-gate": {"gate": 0},
    "no-pilot": {**_REVERSE, "coordinates": "latent"},
}
COLUMNS = (
    "target", "setting", "ρ", "ρ − default's", "E log w", "… − default's", "ESS of the flow", "CPU seconds", "failed",
)  # fmt: skip
NOTES = (
    "Mean ± standard error over seeds; differences are of runs of the same seed. CPU seconds: of training. ESS: of the "
    "last flow's truncated weights, a share.",
    "One flow and its rejections in every setting, no blocks. no-points: in the pilot's coordinates, by reverse KL to "
    "its power of g, tempered, as many steps as the likelihood takes; no-pilot: the same from N(0, I), to g itself and "
    "not tempered. no-rejections, reverse-kl-alone (no points either): to g itself. rejections-alone: on N(0, I) in "
    "the pilot's coordinates. adam: at SOAP's rates.",
)


class Untrained(NamedTuple):
    """A run that cannot be trained. method: the factor."""

    target: str
    method: str
    seed: int
    error: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--targets", default="mustache,gmm10,funnel", help="names, separated by commas")
    parser.add_argument("--factors", default=",".join(FACTORS), help="names, separated by commas")
    parser.add_argument("--out", required=True, type=named_path, help="folder; the same command goes on in it")
    parser.add_argument("--seeds", default="0,1", help="one model a seed")
    parser.add_argument("--samples", type=positive, default=20_000, help="draws, compared with as many of the truth")


def main(options: argparse.Namespace) -> int:
    return guarded(partial(_measure, options))


def _measure(options: argparse.Namespace) -> int:
    console = screen()
    seeds, factors = integers("--seeds", options.seeds), options.factors.split(",")
    targets = [with_truth(named(name)) for name in options.targets.split(",")]
    if unknown := [name for name in factors if name not in FACTORS]:
        raise ConfigError(f"--factors: no {unknown[0]}; there are {', '.join(FACTORS)}")
    if options.samples < 2:
        raise ConfigError("--samples: want at least 2")
    runs = [(target, factor, seed) for target in targets for factor in factors for seed in seeds]
    found: list[Measurement | Untrained] = []
    with held(options.out):
        for target, factor, seed in runs:
            console.show(f"{target.name}, {factor}, seed {seed}: run {len(found) + 1} of {len(runs)}")
            folder = options.out / target.name / factor / f"seed-{seed}"
            found.append(ablated(target, factor, seed, options.samples, folder))
            rows = [one.plain() if isinstance(one, Measurement) else one._asdict() for one in found]
            write(options.out / "ablation.json", json.dumps(rows, indent=1) + "\n")
        text = table(found).markdown()
        write(options.out / "ablation.md", text)
    sys.stdout.write(text)
    return 0


def ablated(target: KnownTarget, factor: str, seed: int, n: int, folder: Path) -> Measurement | Untrained:
    """One run's row, or why there is none; kept either way."""
    run = Run(target, configured("cpu", target.name, {**COMMON, **FACTORS[factor], "seed": seed}), folder)
    failed = folder / "failed.json"
    if (there := read_object(failed)) is not None:
        return Untrained(**there)
    try:
        return kept(folder / f"row-{n}.json", lambda: replace(of_jko(run, target, n, seed), method=factor))
    except (DegenerateWeights, NotNormalisable) as error:
        untrained = Untrained(target.name, factor, seed, str(error))
        write(failed, json.dumps(untrained._asdict(), indent=1) + "\n")
        return untrained


def table(rows: Sequence[Measurement | Untrained]) -> TextTable:
    """A line a target and setting."""
    return TextTable("Neural JKO: single settings changed", COLUMNS, list(_lines(rows)), NOTES)


def _lines(rows: Sequence[Measurement | Untrained]) -> Iterator[Sequence[str]]:
    for target, factor in dict.fromkeys((row.target, row.method) for row in rows):
        here = [row for row in rows if (row.target, row.method) == (target, factor)]
        seeds = [row for row in here if isinstance(row, Measurement)]
        default = {row.seed: row for row in rows if (row.target, row.method) == (target, DEFAULT)}
        pairs = [(row, other) for row in seeds if isinstance(other := default.get(row.seed), Measurement)]
        if factor == DEFAULT:
            pairs = []
        cells = [
            _cell([getattr(row, name) for row in seeds], style)
            for name, style in (("rho", ".1e"), ("log_z_lower", ".3f"), ("flow_ess", ".2f"), ("cpu_seconds", ".0f"))
        ]
        away = [
            _cell([getattr(row, name) - getattr(other, name) for row, other in pairs], style)
            for name, style in (("rho", "+.1e"), ("log_z_lower", "+.3f"))
        ]
        failed = "; ".join(f"seed {row.seed}: {row.error}" for row in here if isinstance(row, Untrained))
        yield (target, factor, cells[0], away[0], cells[1], away[1], *cells[2:], failed)


def _cell(found: Sequence[float | None], style: str) -> str:
    """Over the seeds that have such a number: a model that ends without a flow has no ESS of one."""
    values = [value for value in found if value is not None]
    some = f" ({len(values)} of {len(found)} seeds)" if 0 < len(values) < len(found) else ""
    return mean_and_error(values, style) + some if values else ""
