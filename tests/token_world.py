"""Token tables for the tests of speculative decoding: small vocabularies, laws that depend on the whole context."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from gsi_node.tables.models import TokenTable
from gsi_node.types import Prefix

TOKENS = ("a", "b", ".\n\n", "")
EOS = 3
Chain = Callable[[Prefix, tuple[int, ...]], Sequence[float]]


def chain(seed: int, holes: bool = False) -> Chain:
    """Probabilities of the four tokens after a prefix and the step's tokens so far; with holes, one of them is 0."""

    def table(prefix: Prefix, ids: tuple[int, ...]) -> list[float]:
        rng = random.Random(f"{seed} {prefix.text} {ids}")
        raw = [(rng.random() + 0.05) * weight for weight in (1.0, 1.0, 0.7, 0.15)]
        if holes:
            raw[rng.randrange(len(raw))] = 0.0
        return [x / sum(raw) for x in raw]

    return table


def tables(seed: int = 0, holes: bool = False, **more: Any) -> tuple[TokenTable, TokenTable]:
    """A draft and a base."""
    return (
        TokenTable(TOKENS, chain(2 * seed + 1, holes), eos=EOS, name=f"draft {seed}", **more),
        TokenTable(TOKENS, chain(2 * seed + 2, holes), eos=EOS, name=f"base {seed}", **more),
    )
