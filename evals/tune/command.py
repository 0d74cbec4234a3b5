"""python -m evals tune --data pocket --target-fallback 0.2: settings found on a calibration split, checked on another.

For each beta and n the method's threshold (u of gsi and expgsi, log c of gsi-ic, δ of rsd-n) is set so that the wanted
share of steps falls back; since another threshold changes the steps after it, the run is repeated with the new one
until the measured share agrees. Among the settings, the most accurate on the calibration split within --budget-flops
is written to OUT/tuned.json (for --config of `evals run` and of the solver) and run on the held-out split.

  python -m evals tune --data pocket --target-fallback 0.2 --n 4,8 --betas 5,20 --out runs/tune
  python -m evals tune --data pocket --method gsi-ic --budget-flops 2e9 --out runs/tune-ic
  python -m evals run --data pocket --config runs/tune/tuned.json --out runs/tuned

Every trial is a run folder under OUT; the same command goes on after a stop.
"""

from __future__ import annotations

import argparse
import json
import sys

from evals.options import above_zero, integer, integers, number, numbers, positive
from evals.report.cells import estimate, probability, short
from evals.report.text_table import TextTable
from evals.run.guard import guarded
from evals.tune import trials
from evals.tune.thresholds import knobs
from evals.tune.trials import Search, Trial
from gsi_node.cli.shared import add_models
from gsi_node.host.files import write
from gsi_node.host.options import named_path, set_field
from gsi_node.host.shell import complain
from gsi_node.host.strict_json import finite


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `tune`."""
    goal = parser.add_argument_group("goal (one or both)")
    goal.add_argument("--target-fallback", type=number, metavar="SHARE", help="wanted share of steps that fall back")
    goal.add_argument("--budget-flops", type=above_zero, metavar="F", help="most forward FLOPs a problem, on average")
    space = parser.add_argument_group("search")
    space.add_argument("--method", default="gsi", choices=tuple(knobs()), help="default gsi")
    space.add_argument("--betas", type=numbers, default=[20.0], help="with commas between (default 20)")
    space.add_argument("--n", type=integers, default=[4], help="with commas between (default 4)")
    space.add_argument("--fallbacks", type=numbers, default=[0.1, 0.2, 0.4], help="shares tried without a target")
    space.add_argument("--rounds", type=integer, default=3, help="runs a setting at most (default 3)")
    space.add_argument("--tolerance", type=number, default=0.02, help="a share this near is near enough (default 0.02)")
    what = parser.add_argument_group("data and models, as in `evals run`")
    what.add_argument("--data", required=True)
    what.add_argument("--data-dir", type=named_path)
    what.add_argument("--limit", type=positive, default=100, metavar="N", help="problems of each split (default 100)")
    what.add_argument(
        "--without", type=named_path, metavar="FILE", help="leave out what a reward was trained on: its overlap.json"
    )
    what.add_argument("--seeds", type=integers, default=[0])
    add_models(what)
    what.add_argument(
        "--set", type=set_field, action="append", default=[], metavar="FIELD=VALUE", help="any other GSIConfig field"
    )
    what.add_argument("--workers", type=positive, default=1)
    what.add_argument("--concurrency", type=positive, default=1)
    what.add_argument("--threads", type=positive, default=1, metavar="T", help="torch threads a process (default 1)")
    what.add_argument("--out", type=named_path, required=True, metavar="FOLDER")


def main(options: argparse.Namespace) -> int:
    """0; 1 where no setting is within the budget, or a run could not go on; 2 with one line where the call must be
    changed; 130, 143 interrupted."""
    return guarded(lambda: _tune(options))


def _tune(options: argparse.Namespace) -> int:
    search = Search.of(options)
    found = [
        trials.calibrated(search, beta, n, share)
        for beta in options.betas
        for n in options.n
        for share in ([options.target_fallback] if options.target_fallback is not None else options.fallbacks)
    ]
    best = trials.best(found, options.budget_flops)
    sys.stdout.write(f"\nCalibration split, {options.limit} problems; * is on the frontier of accuracy and cost.\n\n")
    sys.stdout.write(_table(found, options.method))
    if best is None:
        cheapest = min((t.flops for t in found if t.flops is not None), default=None)
        known = "their FLOPs are not known" if cheapest is None else f"the cheapest takes {short(cheapest, digits=3)}"
        complain(f"no setting is within --budget-flops {options.budget_flops:g}: {known}; try a smaller --n")
        return 1
    pasted = {**search.pasted(), **best.setup.pasted()}
    file = options.out / "tuned.json"
    write(file, (json.dumps(pasted, indent=1) + "\n").encode())
    sys.stdout.write(f"\nThe most accurate{' within the budget' if options.budget_flops else ''}, in {file}:\n\n")
    sys.stdout.write(json.dumps(pasted, indent=1) + "\n")
    held = trials.held_out(search, best)
    sys.stdout.write(
        f"\nHeld-out split, {held.problems} problems it has not seen:\n\n{_table([held], options.method)}\n"
    )
    sys.stdout.write(_verdict(best, held, options.budget_flops))
    about = {"chosen": pasted, "trials": [t.about() for t in found], "held_out": held.about()}
    write(options.out / "tune.json", (json.dumps(finite(about), indent=1) + "\n").encode())
    return 0


def _table(found: list[Trial], method: str) -> str:
    name = knobs()[method].field
    header = ["", "beta", "n", name, "wanted fallback", "fallback", "accuracy", "FLOPs a problem", "runs"]
    front = trials.frontier(found)
    body = [
        [
            "*" if trial in front else "",
            f"{trial.setup.fields['beta']:g}",
            str(trial.setup.n),
            f"{trial.setup.fields[name]:.4f}",
            f"{trial.wanted:.3f}",
            estimate(trial.fallback),
            estimate(trial.accuracy),
            short(trial.flops, digits=3),
            str(trial.runs),
        ]
        for trial in found
    ]
    return TextTable("Trials", header, body).markdown()


def _verdict(best: Trial, held: Trial, budget: float | None) -> str:
    """What the held-out split says of the promise."""
    inside = held.fallback.low <= best.wanted <= held.fallback.high
    lines = [
        f"The wanted fallback share {best.wanted:.3f} lies {'in' if inside else 'OUTSIDE'} the held-out interval.",
        f"Accuracy there minus on the calibration split: {held.accuracy.value - best.accuracy.value:+.3f} "
        f"(p = {probability(trials.unpaired_p(best, held))}; the best of several promises a little too much).",
    ]
    if budget is not None and held.flops is not None:
        lines.append(f"FLOPs a problem there: {short(held.flops, digits=3)} of a budget of {short(budget, digits=3)}.")
    return "\n".join(lines) + "\n"
