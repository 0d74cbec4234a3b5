"""Where a step ends: one finite automaton over token bytes, for sampling, scoring, tables and servers alike.

A step ends with the first token after which the bytes of its own tokens hold an end; for a set of strings that is
Aho–Corasick (1975). The automaton composed over each token's bytes is one look-up a token (docs/math.md §1):

    δ(state, token id) → state, or END;   a step begins in START
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gsi_node.errors import LawMismatch
from gsi_node.types import Ends, SamplingLaw

START = 0
END = -1
BLANK = frozenset(b" \t\n\r\v\f")
_AT_ONCE = 1 << 22  # entries of the table made at a time


class StepEnds:
    """δ over a vocabulary. table: (states, token ids), int16.

    tokens: the bytes of each token id, None for a control token, which puts the automaton back to START. eos_ids: end
    a step wherever they stand.
    """

    def __init__(self, ends: Ends, tokens: Sequence[bytes | None], eos_ids: Iterable[int]) -> None:
        self.ends = ends
        self.eos_ids = frozenset(eos_ids)
        self.table = _composed(_automaton(ends), tokens)
        self.table[:, sorted(i for i in self.eos_ids if i < len(tokens))] = END

    def length(self, ids: Iterable[int]) -> int | None:
        """Tokens of `ids` up to the first END, itself included; None where there is none."""
        state, table = START, self.table
        for count, token in enumerate(ids, 1):
            if (state := int(table[state, token])) == END:
                return count
        return None

    def beyond(self, ids: Sequence[int]) -> bool:
        """Whether tokens follow an END, so that no step is made of `ids`."""
        return self.length(ids[:-1]) is not None

    @property
    def sure_ids(self) -> tuple[int, ...]:
        """Sorted ids that end a step in whatever state it is: what a server may be told to stop at."""
        return tuple(np.flatnonzero((self.table == END).all(axis=0)).tolist())

    @cached_property
    def reached(self) -> bool:
        """Whether some string of tokens without EOS comes to an END."""
        table, states = np.delete(self.table, sorted(self.eos_ids), axis=1), {START}
        while END not in states:
            more = states.union(np.unique(table[sorted(states)]).tolist())
            if more == states:
                return False
            states = more
        return True


class Ending(Protocol):
    """A model that says where its steps end."""

    name: str

    def step_ends(self, law: SamplingLaw) -> StepEnds: ...


def check_reached(model: Ending, law: SamplingLaw) -> None:
    """LawMismatch for an end that no tokens of the model write, whatever follows what."""
    for end in law.ends.strings:
        if not model.step_ends(replace(law, ends=Ends((end,)), eos_ids=())).reached:
            raise LawMismatch(
                f"{model.name}: no tokens of it write the step end {end!r}; name one that they write (step_end), or "
                '"tokens:K"'
            )


def _automaton(ends: Ends) -> NDArray[np.int16]:
    """δ over bytes: (states, 256). Two copies of the trie where an END needs a byte before it that is no blank."""
    nodes, final = _trie([text.encode() for text in ends.strings])
    size = len(nodes)
    after = np.array(nodes, dtype=np.int16)
    seen = np.where(np.isin(after, sorted(final)), np.int16(END), after)
    if not ends.after_text:
        return seen
    blank = np.array([byte in BLANK for byte in range(256)])
    said = np.where(seen == END, np.int16(END), seen + np.int16(size))
    return np.concatenate((np.where(blank, after, said), said)).astype(np.int16)


def _trie(strings: Sequence[bytes]) -> tuple[list[list[int]], set[int]]:
    """Aho–Corasick of the strings: what each node goes to with each byte, and the nodes that hold a whole string."""
    children: list[dict[int, int]] = [{}]
    final: set[int] = set()
    for string in strings:
        node = 0
        for byte in string:
            if byte not in children[node]:
                children[node][byte] = len(children)
                children.append({})
            node = children[node][byte]
        final.add(node)
    goes: list[list[int]] = [[0] * 256 for _ in children]
    shorter = [0] * len(children)  # the longest proper suffix that is a node
    queue = [0]
    for node in queue:
        if shorter[node] in final:
            final.add(node)
        goes[node] = goes[shorter[node]].copy() if node else goes[node]
        for byte, child in children[node].items():
            shorter[child] = goes[shorter[node]][byte] if node else 0
            goes[node][byte] = child
            queue.append(child)
    return goes, final


def _composed(after: NDArray[np.int16], tokens: Sequence[bytes | None]) -> NDArray[np.int16]:
    """δ over tokens: the bytes of all of them at once, first ones first."""
    text = np.frombuffer(b"".join(token or b"" for token in tokens), dtype=np.uint8)
    lengths = np.array([len(token or b"") for token in tokens], dtype=np.int64)
    starts = np.cumsum(lengths) - lengths
    states, width = len(after), max(1, _AT_ONCE // len(after))
    table = np.repeat(np.arange(states, dtype=np.int16)[:, None], len(tokens), axis=1)
    for first in range(0, len(tokens), width):
        now, some = table[:, first : first + width], slice(first, first + width)
        for place in range(int(lengths[some].max())):
            here = np.flatnonzero(lengths[some] > place)
            at = now[:, here]
            now[:, here] = np.where(at == END, np.int16(END), after[at, text[starts[some][here] + place]])
    table[:, [i for i, token in enumerate(tokens) if token is None]] = START
    return table
