"""`gsi bench --graphs SHAPE`: decoding in recorded forwards of fixed shape beside the same without, in one run.

Milliseconds of a token of all candidates, by the clock and of the CPU; how many candidates of one key differ, and by
how much the log-probabilities of those with the same tokens do. On a CPU nothing is recorded: what fixed shapes cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from rich.table import Table

from gsi_node.engine.graphs import Unrecorded
from gsi_node.tools.bench_forwards import Spent, compared
from gsi_node.tools.shapes import language_model
from gsi_node.tools.step_parts import StepSize, problem_of
from gsi_node.types import Key, Prefix, Step


def table(shape: str, device: str, dtype: str, sizes: Sequence[StepSize], repeats: int) -> Table:
    """Medians of `repeats` rounds, behind one that is not counted."""
    models: list[Any] = [language_model(shape, device, dtype, graphs=graphs) for graphs in (True, False)]
    runner = models[0].engine.runner
    how = "recorded" if runner.recorder is not None else "fixed shapes, unrecorded"
    runner.recorder = runner.recorder or Unrecorded()
    told = ("ms a token", "CPU ms", "without, ms a token", "CPU ms", "ratio")
    made = Table("prefix", "n", *told, title=f"gsi bench --graphs {shape}, {device}, {dtype}: {how}")
    pairs: list[tuple[Step, Step]] = []
    for size in sizes:
        start = Prefix(problem_of(models[0], size.prefix))
        keys = [Key(number, "bench", 0, "graphs") for number in range(repeats + 1)]
        found = compared(models, keys, partial(_drawn, start, size))
        pairs += found.pairs
        with_them, without = found.spent
        cells = [cell for spent in found.spent for cell in _told(spent, size.tokens)]
        made.add_row(str(size.prefix), str(size.n), *cells, f"{with_them.wall / without.wall:.2f}")
    gaps = [abs(a.log_prob - b.log_prob) for a, b in pairs if a.token_ids == b.token_ids]
    notes = [
        f"{len(pairs) - len(gaps)} of {len(pairs)} candidates differ",
        *([f"log-probabilities of the others by at most {max(gaps):.2g} nats"] if gaps else []),
        *models[0].engine.findings,
    ]
    made.caption = "; ".join(notes)
    return made


def _drawn(start: Prefix, size: StepSize, model: Any, key: Key) -> list[Step]:
    steps: list[Step] = model.sample(start, size.n, key, size.law)
    return steps


def _told(spent: Spent, tokens: int) -> tuple[str, str]:
    return f"{1e3 * spent.wall / tokens:.2f}", f"{1e3 * spent.cpu / tokens:.2f}"
