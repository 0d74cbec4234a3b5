"""`gsi bench --tree N`: what drawing candidates as a tree saves, and what it changes in float32, on the draft model."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from rich.table import Table

from gsi_node.engine.decode import Decoder
from gsi_node.engine.requests import DrawnRows, SampleRequest
from gsi_node.errors import SpecError
from gsi_node.pocket.world.problems import problems
from gsi_node.positions import positions
from gsi_node.types import Key, Prefix, SamplingLaw

SIZES = (4, 16, 64)
STEPS = 6
LAW = SamplingLaw(temperature=0.7, max_step_tokens=64)


@dataclass(slots=True)
class DrawnBothWays:
    """Steps of n candidates each, drawn both ways. seconds: of CPU, as a tree and with a row a candidate. flips:
    candidates with other tokens. errors: |Δ log p| of those with the same, nats."""

    tokens: int = 0
    positions: int = 0
    seconds: list[float] = field(default_factory=lambda: [0.0, 0.0])
    candidates: int = 0
    flips: int = 0
    errors: list[float] = field(default_factory=lambda: [0.0])


def table(draft: Any, size: int) -> Table:
    """Over the first steps of responses to `size` test problems. Raises SpecError for a model not in process."""
    if not hasattr(draft, "engine"):
        raise SpecError(f"--draft: only a model in process draws a tree, got a {type(draft).__name__}")
    heads = ("n", "tokens", "positions", "share", "CPU s", "a row each", "flips", "|Δ log p|")
    made = Table(*heads, title=f"gsi bench --tree {size}, {draft.engine.model.dtype}, T = {LAW.temperature}")
    for n in SIZES:
        found = _drawn(draft, size, n)
        seconds = (f"{value:.2f}" for value in found.seconds)
        share = f"{found.positions / found.tokens:.2f}"
        flips = f"{found.flips} of {found.candidates}"
        cells = (n, found.tokens, found.positions, share, *seconds, flips, f"{max(found.errors):.0e}")
        made.add_row(*map(str, cells))
    return made


def _drawn(draft: Any, size: int, n: int) -> DrawnBothWays:
    found = DrawnBothWays()
    for i, prefix in _prefixes(draft, size):
        ids = draft.prefix_ids(prefix)
        rows: list[DrawnRows] = []
        with torch.inference_mode():
            draft.engine.runner.contexts([ids[:-1]])
            for way in (0, 1) if i % 2 else (1, 0):  # alternately, so that neither has the other's warmth
                started = time.process_time()
                rows.insert(way, _ways(draft, ids, n, Key(i, "tree", len(prefix.steps), "draft"), tree=not way))
                found.seconds[way] += time.process_time() - started
        found.tokens += sum(len(tokens) for tokens, _ in rows[0])
        found.positions += positions(tuple(tokens) for tokens, _ in rows[0])
        found.candidates += n
        for (tokens, values), (others, theirs) in zip(*rows, strict=True):
            found.flips += tokens != others
            if tokens == others:
                found.errors.append(abs(sum(values) - sum(theirs)))
    return found


def _prefixes(draft: Any, size: int) -> Iterator[tuple[int, Prefix]]:
    """Responses of one candidate a step, and the number of their problem."""
    for i, problem in enumerate(problems("test", 0, size)):
        prefix = Prefix(problem.problem)
        for number in range(STEPS):
            yield i, prefix
            [step] = draft.sample(prefix, 1, Key(i, "tree", number, "draft"), LAW)
            if step.finished:
                break
            prefix = replace(prefix, steps=(*prefix.steps, step))


def _ways(draft: Any, ids: tuple[int, ...], n: int, key: Key, *, tree: bool) -> DrawnRows:
    ends, size = draft.step_ends(LAW), draft.tokens.size
    request = SampleRequest(ids, n, key, LAW, limit=LAW.max_step_tokens, ends=ends, size=size)
    decoder = Decoder(draft.engine.runner, tree=tree)
    parts = list(request.parts())
    decoder.join(parts, draft.engine.runner.contexts([ids[:-1]] * len(parts)))
    while decoder.parts:
        decoder.tick()
    return request.future.result(timeout=0)
