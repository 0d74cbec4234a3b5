"""Where a step ends, by string search alone, and the law of steps by enumeration. Imports nothing of ours.

A token is its bytes, or None for a control token, behind which the search begins anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

BLANKS = b" \t\n\r\v\f"
RULES: dict[str, tuple[tuple[str, ...], bool, int | None]] = {
    "paragraph": (("\n\n",), False, None),
    "line": (("\n",), True, None),
    "tokens:2": ((), False, 2),
}
"""The strings, whether they count only behind a byte that is no blank, and the tokens at most."""


def first_end(
    tokens: Sequence[bytes | None], ids: Sequence[int], strings: Sequence[str], after_text: bool, eos: Collection[int]
) -> int | None:
    """How many of the ids make a step; None where it is not ended yet."""
    said = b""
    for count, token in enumerate(ids, 1):
        own = tokens[token]
        said = b"" if own is None else said + own
        if token in eos or any(
            said[:stop].endswith(end.encode()) and (not after_text or said[:stop].strip(BLANKS))
            for end in strings
            for stop in range(1, len(said) + 1)
        ):
            return count
    return None


def step_law(
    chain: Callable[[tuple[int, ...]], Sequence[float]],
    end: Callable[[tuple[int, ...]], int | None],
    limit: int,
) -> dict[tuple[int, ...], float]:
    """π(y) of every step of at most `limit` tokens, multiplied out token by token."""
    law: dict[tuple[int, ...], float] = {}

    def grow(ids: tuple[int, ...], mass: float) -> None:
        if ids and (len(ids) == limit or end(ids) is not None):
            law[ids] = mass
            return
        for token, p in enumerate(chain(ids)):
            if p > 0.0:
                grow((*ids, token), mass * p)

    grow((), 1.0)
    return law
