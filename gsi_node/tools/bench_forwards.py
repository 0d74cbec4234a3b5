"""`gsi bench --forwards`: a model with its linear layers packed beside the same with them as they are, in one run.

Tokens a second and milliseconds of CPU a token of drafting n candidates and of scoring them. The bound is that of the
products alone: all packed layers at the rows that the forwards have. Then how many candidates of one key differ, and by
how much the log-probabilities of the same ones do.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, NamedTuple

import torch
from rich.table import Table

from gsi_node.engine.packing import PackedLinear
from gsi_node.engine.requests import WIDTH
from gsi_node.errors import SpecError
from gsi_node.specs.load import load_model
from gsi_node.tools.step_parts import StepSize, problem_of
from gsi_node.types import Key, Prefix, Step

ROWS = (16, 32, 64, 96)
PREFIXES = (268, 1024)
TOKENS = 40


class Spent(NamedTuple):
    """Seconds by the clock, and of the CPU."""

    wall: float
    cpu: float


class Compared(NamedTuple):
    """Two models over the same work: what each spent (medians), and what each found, round by round."""

    spent: list[Spent]
    found: list[list[Any]]

    @property
    def pairs(self) -> list[tuple[Any, Any]]:
        """What the two made of the same, one by one."""
        return [pair for both in zip(*self.found, strict=True) for pair in zip(*both, strict=True)]


def table(spec: str, rows: Sequence[int], repeats: int) -> Table:
    """Medians of `repeats` rounds, behind one that is not counted. Raises SpecError where nothing is packed."""
    models: list[Any] = [load_model(spec), load_model(f"{spec}{'&' if '?' in spec else '?'}pack=false")]
    products = packed_layers(models[0])
    if not products:
        raise SpecError(f"--draft {spec}: no layer of it is packed here, so there is nothing to compare")
    title = f"gsi bench --forwards, {spec}, {TOKENS} tokens a row, {torch.get_num_threads()} threads"
    told = ("packed, tokens/s", "CPU ms a token", "as they are, tokens/s", "CPU ms a token", "bound", "packed / bound")
    made = Table("what", "prefix", "rows", *told, title=title)
    pairs: list[tuple[Step, Step]] = []
    gaps: list[float] = []
    for prefix, n in product(PREFIXES, rows):
        drafts, scores = _cell(models, prefix, n, repeats)
        for what, most, part in (("draft", n, drafts), ("score", min(WIDTH, n) * TOKENS, scores)):
            bound = most / products_seconds(products, most, repeats)
            cells = [told for spent in part.spent for told in _told(spent, n * TOKENS)]
            reached = n * TOKENS / part.spent[0].wall / bound
            made.add_row(what, str(prefix), str(n), *cells, f"{bound:.0f}", f"{reached:.2f}")
        pairs += drafts.pairs
        gaps += [abs(a.log_prob - b.log_prob) for a, b in scores.pairs]
    unlike = sum(a.token_ids != b.token_ids for a, b in pairs)
    made.caption = (
        f"{unlike} of {len(pairs)} candidates differ; log-probabilities of the same candidates by at most "
        f"{max(gaps):.2g} nats"
    )
    return made


def _cell(models: Sequence[Any], prefix: int, n: int, repeats: int) -> tuple[Compared, Compared]:
    """n candidates drawn, and those of the second model scored."""
    start, law = Prefix(problem_of(models[1], prefix)), StepSize(n, prefix, TOKENS).law
    keys = [Key(number, "bench", 0, "forwards") for number in range(repeats + 1)]
    drafts = compared(models, keys, lambda model, key: model.sample(start, n, key, law))
    return drafts, compared(models, drafts.found[1], lambda model, steps: model.score(start, steps, law))


def packed_layers(model: Any) -> list[PackedLinear]:
    """Those of a model in process; none of others."""
    engine = getattr(model, "engine", None)
    return [] if engine is None else [part for part in engine.model.modules() if isinstance(part, PackedLinear)]


def compared(models: Sequence[Any], work: Sequence[Any], do: Callable[[Any, Any], list[Any]]) -> Compared:
    """Each piece of work by every model, one after another; the first piece is not counted."""
    spent: list[list[Spent]] = [[] for _ in models]
    found: list[list[Any]] = [[] for _ in models]
    for piece in work:
        for model, times, results in zip(models, spent, found, strict=True):
            began = Spent(time.perf_counter(), time.process_time())
            results.append(do(model, piece))
            times.append(Spent(time.perf_counter() - began.wall, time.process_time() - began.cpu))
    medians = [Spent(*map(statistics.median, zip(*times[1:], strict=True))) for times in spent]
    return Compared(medians, found)


@torch.inference_mode()
def products_seconds(layers: Sequence[PackedLinear], rows: int, repeats: int) -> float:
    """Median seconds of one forward's products: every layer on `rows` rows."""
    inputs = {
        layer.weight.shape[1]: torch.ones(rows, layer.weight.shape[1], dtype=layer.weight.dtype) for layer in layers
    }
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        for layer in layers:
            layer(inputs[layer.weight.shape[1]])
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def _told(spent: Spent, tokens: int) -> tuple[str, str]:
    return f"{tokens / spent.wall:.0f}", f"{1e3 * spent.cpu / tokens:.2f}"
