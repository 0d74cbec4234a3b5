"""Passages that stand twice.

The lines of a file are those of its code (no blank lines, comments or docstrings), blanks in a row as one, without
import statements. A passage is a run of SHORTEST or more lines that are equal at two places and cannot be made longer
at either end; two places in one file do not overlap. Each pair of places counts once: three places are three pairs.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from .sources import Source, span

SHORTEST = 6


@dataclass(frozen=True, slots=True)
class Passage:
    """`lines` equal lines, at two places (path:line)."""

    lines: int
    first: str
    second: str


def passages(sources: Sequence[Source]) -> list[Passage]:
    """Every pair of places at which one passage stands, the longest first."""
    texts = [_counted(source) for source in sources]
    places: dict[tuple[str, ...], list[tuple[int, int]]] = {}
    for file, lines in enumerate(texts):
        for start in range(len(lines) - SHORTEST + 1):
            window = tuple(line for _, line in lines[start : start + SHORTEST])
            places.setdefault(window, []).append((file, start))
    found = []
    for one, other in _pairs(list(places.values())):
        length = _length(texts, one, other)
        if length >= SHORTEST:
            found.append(Passage(length, _place(sources, texts, one), _place(sources, texts, other)))
    return sorted(found, key=lambda passage: (-passage.lines, passage.first, passage.second))


def _counted(source: Source) -> list[tuple[int, str]]:
    imports = (node for node in ast.walk(source.tree) if isinstance(node, ast.Import | ast.ImportFrom))
    hidden = {number for node in imports for number in span(node)}
    return [(number, line) for number, line in source.code if number not in hidden]


def _pairs(groups: list[list[tuple[int, int]]]) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Pairs of equal windows, but those that only go on from a pair that starts one line earlier."""
    pairs = {pair for group in groups for pair in combinations(group, 2)}
    for (file, start), (other, other_start) in sorted(pairs):
        if ((file, start - 1), (other, other_start - 1)) not in pairs:
            yield (file, start), (other, other_start)


def _length(texts: list[list[tuple[int, str]]], one: tuple[int, int], other: tuple[int, int]) -> int:
    (file, start), (second, second_start) = one, other
    length = 0
    for (_, line), (_, again) in zip(texts[file][start:], texts[second][second_start:], strict=False):
        if line != again or (file == second and start + length == second_start):
            break
        length += 1
    return length


def _place(sources: Sequence[Source], texts: list[list[tuple[int, str]]], place: tuple[int, int]) -> str:
    file, start = place
    return f"{sources[file].path}:{texts[file][start][0]}"
