"""Which forward positions candidates share: those whose tokens are equal so far see one next-token law."""

from __future__ import annotations

from collections.abc import Iterable

from gsi_node.types import Ids


def apart(rows: Iterable[Ids]) -> list[tuple[Ids, int]]:
    """Each row once, sorted, with how many of its positions a row before it has, too.

    Position j of a row is the forward behind its first j tokens, j = 0 … length − 1; two rows share it where these are
    the same tokens.
    """
    found: list[tuple[Ids, int]] = []
    before: Ids = ()
    for row in sorted(set(rows)):
        pairs = enumerate(zip(row, before, strict=False))
        common = next((j for j, (a, b) in pairs if a != b), min(len(row), len(before)))
        found.append((row, min(common + 1, len(before))))
        before = row
    return found


def positions(rows: Iterable[Ids]) -> int:
    """Forward positions that drawing these candidates as a tree takes."""
    return sum(len(row) - shared for row, shared in apart(rows))
