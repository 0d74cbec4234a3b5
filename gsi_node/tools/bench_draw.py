"""`gsi bench --draws`: what drawing a token costs beside the forward that it is drawn from, on the draft model."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from rich.table import Table

from gsi_node.engine.batch import Batch
from gsi_node.engine.sampling import Memory, Softmax
from gsi_node.errors import SpecError
from gsi_node.types import SamplingLaw

ROWS = (16, 32, 64, 96)
PREFIX = 256
"""Tokens of the prefix; each row has PREFIX // 8 of its own."""
LAW = SamplingLaw(temperature=0.7)


def table(draft: Any, repeats: int) -> Table:
    """Milliseconds of CPU of a token step of so many rows behind one prefix: its forward, its draw, and their ratio.

    Medians; the aim, for 152,000 ids and 96 rows, is a tenth. Raises SpecError for a model that is not in process.
    """
    if not hasattr(draft, "engine"):
        raise SpecError(f"--draft: only a model in process can be timed here, got a {type(draft).__name__}")
    title = f"gsi bench --draws, {draft.tokens.size} ids, {draft.engine.model.dtype}, {torch.get_num_threads()} threads"
    made = Table("rows", "forward, CPU ms", "draw, CPU ms", "draw / forward", title=title)
    with torch.inference_mode():
        for rows in ROWS:
            forward, draw = _timed(draft, rows, repeats)
            made.add_row(str(rows), f"{1e3 * forward:.1f}", f"{1e3 * draw:.1f}", f"{draw / forward:.3f}")
    return made


def _timed(draft: Any, rows: int, repeats: int) -> tuple[float, float]:
    """CPU seconds of a forward of one token a row, and of a draw from its logits."""
    runner, size = draft.engine.runner, draft.tokens.size
    ids = tuple(token % size for token in range(PREFIX))
    own = torch.arange(rows)[:, None].add(torch.arange(PREFIX // 8)).remainder_(size).to(runner.device)
    batch, memory = Batch(runner.shape, runner.context_length), Memory()
    batch.join(runner.contexts([ids]), [rows], own.shape[1] + repeats + 1)
    logits = runner.feed(batch, own, last=True)[:, 0, :size]
    every = torch.arange(rows, device=runner.device)
    uniforms = torch.linspace(0, 1, rows + 1, dtype=torch.float64, device=runner.device)[:-1]

    def drawn() -> None:
        softmax = Softmax.of(logits, LAW, memory)
        softmax.at(every, softmax.draw(every, uniforms))

    ways: tuple[Callable[[], object], ...] = (lambda: runner.feed(batch, own[:, :1], last=True), drawn)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats + 1):
        for way, found in zip(ways, times, strict=True):
            started = time.process_time()
            way()
            found.append(time.process_time() - started)
    forward, draw = (statistics.median(found[1:]) for found in times)
    return forward, draw
