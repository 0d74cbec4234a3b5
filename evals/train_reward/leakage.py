"""What of the evaluation sets is like a training problem (overlap.py): counted, told, and left out of evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evals.data.datasets import load, stored_at
from evals.data.dropped import ComparedSet, Likeness
from evals.data.layouts import LAYOUTS
from evals.data.problems import Problem
from evals.report.text_table import TextTable
from evals.train_reward.overlap import THRESHOLD, nearest

OVERLAP = "overlap.json"
"""The file in the reward's folder for `evals run --without`."""


@dataclass(frozen=True, slots=True)
class Leakage:
    """sets: by name, what of each is kept and dropped. median: of the greatest overlap of each problem, by set.
    missing: named sets that are not at hand."""

    sets: Mapping[str, ComparedSet]
    median: Mapping[str, float]
    missing: Sequence[str]

    def table(self) -> TextTable:
        """A line a set."""
        lines = [
            [
                name,
                str(len(one.kept) + len(one.dropped)),
                str(len(one.dropped)),
                f"{self.median[name]:.2f}",
                _greatest(one.dropped),
            ]
            for name, one in self.sets.items()
        ]
        notes = [
            f"Dropped: J ≥ {THRESHOLD:g} with a training problem, J the share of common pairs of neighbouring words, "
            f"numbers and names masked; evals run --without FOLDER/{OVERLAP} leaves them out."
        ]
        if self.missing:
            notes.append(f"Not at hand, so not compared: {', '.join(self.missing)}.")
        return TextTable("Overlap", ["set", "problems", "dropped", "median J", "most like"], lines, notes)


def leakage(training: Sequence[Problem], against: Sequence[str], data_dir: Path | None) -> Leakage:
    """Every named set that is at hand, and those that `against` names, compared with all problems of a training.

    Nothing is downloaded for a set that is not asked for. Raises ConfigError for one that cannot be loaded.
    """
    here = [name for name in LAYOUTS if any(path.is_file() for path in stored_at(name, data_dir))]
    names = list(dict.fromkeys([*here, *against]))
    sets, median = {}, {}
    for name in names:
        problems = load(name, data_dir=data_dir)
        found = nearest([one.problem for one in problems], [one.problem for one in training])
        alike = {
            one.id: Likeness(overlap=round(near.overlap, 4), like=training[near.place].id)
            for one, near in zip(problems, found, strict=True)
            if near.same
        }
        sets[name] = ComparedSet(kept=[one.id for one in problems if one.id not in alike], dropped=alike)
        median[name] = float(np.median([near.overlap for near in found]))
    return Leakage(sets, median, [name for name in LAYOUTS if name not in names])


def _greatest(dropped: Mapping[str, Likeness]) -> str:
    """The problem most like one of the training's."""
    if not dropped:
        return "–"
    id, one = max(dropped.items(), key=lambda item: item[1].overlap)
    return f"{id}: {one.overlap:.2f} with {one.like}"
