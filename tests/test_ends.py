"""StepEnds against string search: every rule, on chosen vocabularies and on random ones."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsi_node import ends as room
from gsi_node.ends import END, START, StepEnds
from gsi_node.types import Ends
from tests.step_ends import first_end

Case = tuple[Ends, tuple[bytes | None, ...], int]

CASES: dict[str, Case] = {
    "one token holds it": (Ends(("\n\n",)), (b"a", b"\n\n", b".\n\n", b"\n\n\n", b""), 4),
    "two tokens": (Ends(("\n\n",)), (b"a", b"\n", b".\n", b"\n#", b""), 4),
    "reaches beyond": (Ends((" .",)), (b" ", b".", b"a .", b".a", b""), 4),
    "a failure link": (Ends(("aab",)), (b"a", b"b", b"aa", b"ab", b""), 4),
    "a string within another": (Ends(("abcd", "bc")), (b"a", b"b", b"c", b"d", b""), 4),
    "a suffix of another's prefix": (Ends(("abab", "ba\n")), (b"a", b"b", b"ab", b"\n", b""), 4),
    "inside characters": (Ends(("é€",)), ("é".encode(), b"\xc3", b"\xa9\xe2", b"\x82\xac", b""), 4),
    "a control token between": (Ends(("\n\n",)), (b"\n", None, b"a", b"\n\n", b""), 4),
    "line": (Ends(("\n",), after_text=True), (b"\n", b" \n", b"a", b"\na\n", b""), 4),
    "line and a control token": (Ends(("\n",), after_text=True), (b"\n", None, b"a", b"\n ", b""), 4),
    "a paragraph behind text": (Ends(("\n\n",), after_text=True), (b"\n", b"\n\n", b"a", None, b""), 4),
    "with its own text": (Ends(("\n.",), after_text=True), (b"\n", b".", b" ", b"\n.\n", b""), 4),
    "no end": (Ends(()), (b"\n", b"a", None, b""), 3),
}


def check(case: Case, length: int = 5) -> None:
    """Every row of so many tokens, and of fewer, since the first end of a row is that of what it begins with."""
    ends, tokens, eos = case
    found = StepEnds(ends, tokens, (eos,))
    for ids in product(range(len(tokens)), repeat=length):
        wanted = first_end(tokens, ids, ends.strings, ends.after_text, {eos})
        assert found.length(ids) == wanted, (ids, [tokens[i] for i in ids])
        assert found.beyond(ids) == (wanted is not None and wanted < length)
    sure = {i for i, token in enumerate(tokens) if i == eos or _holds(token, ends)}
    assert set(found.sure_ids) == sure


def _holds(token: bytes | None, ends: Ends) -> bool:
    """Whether it ends a step whatever came before."""
    return token is not None and first_end([token], [0], ends.strings, ends.after_text, ()) == 1


@pytest.mark.parametrize("name", CASES)
def test_a_step_ends_where_string_search_says(name: str) -> None:
    check(CASES[name])


PIECES = st.text("ab\n .", max_size=3).map(str.encode)
BYTES = st.one_of(PIECES, st.none(), st.sampled_from([b"\xc3", b"\xa9", "é".encode(), b"\xe2\x82", b"\xac"]))


@given(
    st.lists(BYTES, min_size=1, max_size=8),
    st.lists(st.text("ab\n .é", min_size=1, max_size=4), max_size=4),
    st.booleans(),
    st.sets(st.integers(0, 7), max_size=2),
    st.lists(st.integers(0, 7), max_size=12),
)
@settings(max_examples=400, deadline=None)
def test_random_vocabularies_and_strings(
    tokens: list[bytes | None], strings: list[str], after_text: bool, eos: set[int], row: list[int]
) -> None:
    eos, ids = {i for i in eos if i < len(tokens)}, [i % len(tokens) for i in row]
    found = StepEnds(Ends(tuple(strings), after_text), tokens, eos)
    wanted = first_end(tokens, ids, strings, after_text, eos)
    assert found.length(ids) == wanted
    assert found.beyond(ids) == (wanted is not None and wanted < len(ids))
    assert set(found.sure_ids) >= {i for i, token in enumerate(tokens) if i in eos}
    for i in found.sure_ids:  # behind any row that has not ended, it ends
        if wanted is None:
            assert found.length([*ids, i]) == len(ids) + 1


@given(
    st.lists(BYTES, min_size=1, max_size=5),
    st.lists(st.text("ab\né", min_size=1, max_size=3), min_size=1, max_size=2),
)
@settings(max_examples=150, deadline=None)
def test_an_end_is_reached_where_some_row_of_tokens_holds_it(tokens: list[bytes | None], strings: list[str]) -> None:
    found, most = StepEnds(Ends(tuple(strings)), tokens, ()), max(len(end.encode()) for end in strings)
    rows = product(range(len(tokens)), repeat=min(most, 6))  # an end of so many bytes takes so many tokens at most
    wanted = any(first_end(tokens, row, strings, False, ()) is not None for row in rows)
    assert found.reached == wanted
    for tail in ([b""], []):  # EOS reaches nothing, be it of the vocabulary or beyond
        assert StepEnds(Ends(tuple(strings)), [*tokens, *tail], (len(tokens),)).reached == wanted


@pytest.mark.parametrize("case", CASES)
def test_tokens_of_one_kind_do_what_their_bytes_do_one_after_another(case: str) -> None:
    ends, tokens, eos = CASES[case]
    found, byte = StepEnds(ends, tokens, (eos,)), room._automaton(ends)
    for state, (token, text) in product(range(len(byte)), enumerate(tokens)):
        wanted = state
        for here in text or b"":
            wanted = END if wanted == END else int(byte[wanted, here])
        assert found.after(state, token) == (END if token == eos else START if text is None else wanted)


def test_many_long_ends_take_little_memory() -> None:
    """Eight ends of 64 bytes, twice over for after_text, over all their own pieces and 40,000 other tokens."""
    letters, dice = "abc def\n", random.Random(0)
    ends = tuple("".join(dice.choices(letters, k=64)) for _ in range(8))
    pieces = [end[first : first + size].encode() for end in ends for first in range(64) for size in (1, 2, 5, 13)]
    others = ["".join(dice.choices(letters, k=dice.randint(1, 9))).encode() for _ in range(40_000)]
    found = StepEnds(Ends(ends, after_text=True), [*pieces, *others], ())
    assert found.table.shape[0] > 900
    assert found.table.nbytes + found.kinds.nbytes < 10 << 20  # a state and token each would take 76 MB


def _no_failure_links(strings: Sequence[bytes]) -> Any:
    goes, final = room._trie(strings)
    goes = [[child if child > node or not node else 0 for child in row] for node, row in enumerate(goes)]
    return goes, final


def _short_ends_forgotten(strings: Sequence[bytes]) -> Any:
    """A node that only ends with a whole string is no end."""
    goes, _ = room._trie(strings)
    final = set()
    for string in strings:
        node = 0
        for byte in string:
            node = goes[node][byte]
        final.add(node)
    return goes, final


def _text_alone(ends: Ends) -> Any:
    return room._automaton(Ends(ends.strings))


def _controls_keep_the_state(after: Any, tokens: Sequence[bytes | None]) -> Any:
    return room._composed(after, [b"" if token is None else token for token in tokens])


MUTANTS: dict[str, tuple[str, Any, str]] = {
    "no failure links": ("_trie", _no_failure_links, "a failure link"),
    "ends within others": ("_trie", _short_ends_forgotten, "a string within another"),
    "after_text ignored": ("_automaton", _text_alone, "line"),
    "control tokens keep the state": ("_composed", _controls_keep_the_state, "a control token between"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_of_the_automaton_die(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    part, mutant, case = MUTANTS[name]
    real = getattr(room, part)

    def planted(*args: Any) -> Any:
        with monkeypatch.context() as inside:
            inside.setattr(room, part, real)
            return mutant(*args)

    monkeypatch.setattr(room, part, planted)
    with pytest.raises(AssertionError):
        check(CASES[case])
