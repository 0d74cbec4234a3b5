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


class StepEnds:
    """δ over a vocabulary: the state after `token` in `state` is table[state, kinds[token]].

    kinds: (token ids,) int32; tokens of one kind move every state alike. table: (states, kinds) int16. There is a state
    for each byte of an end at most, and a second one where an end needs text before it; kinds are few, since most
    tokens are inside of no end and put all states into one: eight ends of 64 bytes over 152,000 ids take a few MB.

    tokens: the bytes of each token id, None for a control token, which puts the automaton back to START. eos_ids: end
    a step wherever they stand.
    """

    def __init__(self, ends: Ends, tokens: Sequence[bytes | None], eos_ids: Iterable[int]) -> None:
        self.ends = ends
        self.eos_ids = frozenset(eos_ids)
        columns, kinds = _composed(_automaton(ends), tokens)
        self._eos = sorted(i for i in self.eos_ids if i < len(tokens))
        kinds[self._eos] = len(columns)
        columns.append(np.full_like(columns[0], END))
        used, self.kinds = np.unique(kinds, return_inverse=True)
        self.kinds = self.kinds.astype(np.int32)
        self.table = np.stack([columns[kind] for kind in used], axis=1)

    def after(self, state: int, token: int) -> int:
        """δ(state, token): a state, or END."""
        return int(self.table[state, self.kinds[token]])

    def length(self, ids: Iterable[int]) -> int | None:
        """Tokens of `ids` up to the first END, itself included; None where there is none."""
        state = START
        for count, token in enumerate(ids, 1):
            if (state := self.after(state, token)) == END:
                return count
        return None

    def beyond(self, ids: Sequence[int]) -> bool:
        """Whether tokens follow an END, so that no step is made of `ids`."""
        return self.length(ids[:-1]) is not None

    @cached_property
    def sure_ids(self) -> tuple[int, ...]:
        """Sorted ids that end a step in whatever state it is: what a server may be told to stop at."""
        return tuple(np.flatnonzero((self.table == END).all(axis=0)[self.kinds]).tolist())

    @cached_property
    def reached(self) -> bool:
        """Whether some string of tokens without EOS comes to an END."""
        table, states = self.table[:, np.unique(np.delete(self.kinds, self._eos))], {START}
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


def _composed(
    after: NDArray[np.int16], tokens: Sequence[bytes | None]
) -> tuple[list[NDArray[np.int16]], NDArray[np.int32]]:
    """What each kind of byte string does to all states, and the kind of each token; the last is that of control tokens.

    All tokens go on by a byte at a time. What a kind and a byte make is found out once: most of what tokens begin with
    is of few kinds.
    """
    text = np.frombuffer(b"".join(token or b"" for token in tokens), dtype=np.uint8)
    lengths = np.array([len(token or b"") for token in tokens], dtype=np.int64)
    starts = np.cumsum(lengths) - lengths
    going = np.argsort(-lengths, kind="stable")
    after = np.concatenate((after, np.full((1, 256), END, dtype=np.int16)))  # END, as an index, is the last row
    columns = [np.arange(len(after) - 1, dtype=np.int16)]
    known = {columns[0].tobytes(): 0}
    moves = np.full((1, 256), -1, dtype=np.int32)
    kinds = np.zeros(len(tokens), dtype=np.int32)
    for place in range(int(lengths.max(initial=0))):
        going = going[lengths[going] > place]
        kind, byte = kinds[going], text[starts[going] + place]
        new = moves[kind, byte] < 0
        for pair in np.unique(kind[new].astype(np.int64) * 256 + byte[new]).tolist():
            made = after[columns[pair >> 8], pair & 255]
            found = known.setdefault(made.tobytes(), len(columns))
            columns += [made] if found == len(columns) else []
            moves[pair >> 8, pair & 255] = found
        moves = np.concatenate((moves, np.full((len(columns) - len(moves), 256), -1, dtype=np.int32)))
        kinds[going] = moves[kind, byte]
    kinds[[i for i, token in enumerate(tokens) if token is None]] = len(columns)
    return [*columns, np.full_like(columns[0], START)], kinds
