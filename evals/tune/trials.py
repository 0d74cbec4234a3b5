"""The trials of `evals tune`: runs of one setting, its threshold moved until the wanted share of steps falls back."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from scipy import stats as scipy_stats

from evals.data.dropped import without
from evals.graders.gradable import load_gradable
from evals.report import stats
from evals.report.arms import Arm
from evals.report.stats import Estimate
from evals.report.tally import tally
from evals.rows.row import Row
from evals.run.config import FieldValue
from evals.run.execute import execute
from evals.run.how import How
from evals.run.plan import Plan, other_fields
from evals.tune.thresholds import batches, clip, knobs, measuring, threshold
from gsi_node.errors import ConfigError, GSIError
from gsi_node.host.shell import complain
from gsi_node.step.config import GSIConfig
from gsi_node.step.layers import gathered, validated


@dataclass(frozen=True, slots=True)
class Setup:
    """What a search turns: method, n, and fields of GSIConfig."""

    method: str
    n: int
    fields: Mapping[str, float]

    def pasted(self) -> dict[str, FieldValue]:
        """As --config takes them."""
        return {"method": self.method, "n": self.n, **self.fields}


@dataclass(frozen=True, slots=True)
class Trial:
    """A setup, measured. wanted: the fallback share asked for. flops: mean forward FLOPs a problem, None where unknown.
    runs: how many it took."""

    setup: Setup
    wanted: float
    fallback: Estimate
    accuracy: Estimate
    flops: float | None
    problems: int
    runs: int

    def about(self) -> dict[str, object]:
        """All of it, JSON-plain."""
        told = asdict(self)
        del told["setup"]
        return {"fields": self.setup.pasted(), **told}


@dataclass(frozen=True, slots=True)
class Search:
    """What all trials share: where they are written, the data, the models, and when to stop. without: a training's
    overlap.json, whose dropped problems are left out. sets: fields of GSIConfig that all of them have."""

    out: Path
    method: str
    sets: Mapping[str, FieldValue]
    data: str
    data_dir: Path | None
    without: Path | None
    limit: int
    seeds: tuple[int, ...]
    specs: Mapping[str, str]
    how: How
    rounds: int
    tolerance: float

    @classmethod
    def of(cls, options: argparse.Namespace) -> Search:
        """From the command line. Raises ConfigError where it has no goal, or one that cannot be."""
        if options.target_fallback is None and options.budget_flops is None:
            raise ConfigError("tune needs a goal: --target-fallback SHARE, --budget-flops F, or both")
        shares = options.fallbacks if options.target_fallback is None else [options.target_fallback]
        if not all(0.0 <= share < 1.0 for share in shares):
            raise ConfigError(f"--target-fallback: want a share in [0, 1), got {', '.join(map(str, shares))}")
        if options.rounds < 1:
            raise ConfigError(f"--rounds: want at least 1, got {options.rounds}")
        return cls(
            out=options.out,
            method=options.method,
            sets=gathered([("--set", other_fields(options.set))]),
            data=options.data,
            data_dir=options.data_dir,
            without=options.without,
            limit=options.limit,
            seeds=tuple(options.seeds),
            specs={role: getattr(options, role) for role in ("draft", "base", "reward")},
            how=How(workers=options.workers, concurrency=options.concurrency, threads=options.threads),
            rounds=options.rounds,
            tolerance=options.tolerance,
        )

    def plan(self, split: str, setup: Setup) -> Plan:
        """The run of one setting. Raises ConfigError."""
        problems = load_gradable(self.data, data_dir=self.data_dir, size=self.limit, seed=0, split=split)
        if self.without is not None:
            problems = without(problems, self.data, self.without)
        return Plan(
            data=self.data,
            problems=tuple(problems),
            methods=(setup.method,),
            ns=(setup.n,),
            seeds=self.seeds,
            specs=self.specs,
            fields={**self.sets, **setup.fields},
            record="candidates",
            limit=self.limit,
            split=split,
            data_dir=self.data_dir,
        )

    def rows(self, name: str, split: str, setup: Setup) -> list[Row]:
        """The rows of one run under OUT, made where they are not there yet."""
        folder, plan = self.out / name, self.plan(split, setup)
        try:
            return execute(plan, folder, self.how)
        except (GSIError, OSError, KeyboardInterrupt):
            complain(f"the run in {folder} did not end well; the same command goes on from there")
            raise

    def pasted(self) -> dict[str, FieldValue]:
        """The fields named by --set, as the runs read them: a pasted configuration must hold them too."""
        read = validated({**self.sets, "method": self.method}).model_dump()
        return {name: read[name] for name in self.sets}


def calibrated(search: Search, beta: float, n: int, share: float) -> Trial:
    """Rerun with the threshold that the last run's batches call for until the share agrees, or the rounds are over.

    The run nearest to the wanted share counts. Fixed point: the batches' law depends on the threshold only through the
    steps committed before them.
    """
    fields = {"beta": beta}
    knob = knobs()[search.method]
    name = knob.field
    label = f"{search.method}-beta{beta:g}-n{n}-fallback{share:g}"
    if (whole := measuring(search.method)) is not None:
        rows = search.rows(f"{whole}-beta{beta:g}-n{n}", "calibration", Setup(whole, n, dict(fields)))
        fields["log_ratio_clip"] = round(clip(batches(rows)), 4)
    fields[name] = knob.now(GSIConfig(beta=beta))  # the search begins with the default settings
    nearest: Trial | None = None
    for number in range(1, search.rounds + 1):
        setup = Setup(search.method, n, dict(fields))
        rows = search.rows(f"{label}-run{number}", "calibration", setup)
        trial = measured(rows, setup, share, number)
        if nearest is None or _gap(trial) < _gap(nearest):
            nearest = trial
        if _gap(trial) <= search.tolerance:
            break
        moved = round(threshold(search.method, batches(rows), share), 4)
        if moved == fields[name]:
            break
        fields[name] = moved
    assert nearest is not None
    return nearest


def held_out(search: Search, best: Trial) -> Trial:
    """The chosen setting on the other half of the data."""
    return measured(search.rows("held-out", "heldout", best.setup), best.setup, best.wanted, 1)


def measured(rows: Sequence[Row], setup: Setup, wanted: float, runs: int) -> Trial:
    """Fallback share, accuracy and FLOPs of a run's rows. Raises ConfigError where no step was decided."""
    found = tally(Arm("", setup.method, setup.n, rows[0].temperature), rows) if rows else None
    accepted = None if found is None else found.acceptance
    if found is None or accepted is None:
        raise ConfigError("the run decided no step: are all its rows errors? (evals report shows them)")
    fallback = replace(accepted, value=1 - accepted.value, low=1 - accepted.high, high=1 - accepted.low)
    flops = None if found.flops is None else found.flops.total.value
    return Trial(setup, wanted, fallback, found.accuracy, flops, found.problems, runs)


def best(found: Sequence[Trial], budget: float | None) -> Trial | None:
    """The most accurate within the budget, the cheapest of equals; None where none is within it."""
    able = [t for t in found if budget is None or (t.flops is not None and t.flops <= budget)]
    return max(able, key=lambda t: (t.accuracy.value, -(t.flops or 0.0)), default=None)


def frontier(found: Sequence[Trial]) -> list[Trial]:
    """Those that no other beats in accuracy at the same or a lower cost."""
    known = [t for t in found if t.flops is not None]
    front = stats.pareto([t.flops or 0.0 for t in known], [t.accuracy.value for t in known])
    return [known[i] for i in front]


def unpaired_p(one: Trial, other: Trial) -> float:
    """Two-sided p of equal accuracies on different problems, by the normal law of their difference."""
    se = math.hypot(one.accuracy.se, other.accuracy.se)
    gap = abs(one.accuracy.value - other.accuracy.value)
    return 1.0 if se == 0.0 else float(2 * scipy_stats.norm.sf(gap / se))


def _gap(trial: Trial) -> float:
    return abs(trial.fallback.value - trial.wanted)
