r"""How far two problems are one problem with other numbers, other names and its sentences in another order.

  J(a, b) = |A ∩ B| / |A ∪ B|,  A the pairs of neighbouring words within the sentences of a

Masked are numbers (digits and number words) and names: words with a capital inside a sentence, or at its start where
the texts compared never write them small. Letter case, punctuation and the order of sentences do not count; signs such
as + and \frac do. Another wording of the same problem is not found.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

THRESHOLD = 0.3
"""From here on two problems count as one: what was measured stands in docs/train-reward.md."""
NUMBER, NAME = "#", "@"
AT_ONCE = 512  # texts compared with all others together: bounds the memory
_NUMBER_WORDS = frozenset(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred hundreds thousand thousands "
    "million millions billion half halves third thirds quarter quarters dozen dozens once twice thrice".split()
)
_TOKEN = re.compile(
    r"""(?P<number>[0-9]+(?:[.,:/][0-9]+)*)
    |(?P<word>\\?[^\W\d_]+(?:[’'][^\W\d_]+)?)
    |(?P<end>[.!?;:\n])
    |(?P<sign>[+*/=<>^_|×÷·≤≥]|-(?![^\W\d_]))
    """,
    re.VERBOSE,
)
_POSSESSIVE = re.compile(r"[’']s?$|[’']s$")

MaskedWords = tuple[str, ...]
WordPairs = frozenset[tuple[str, ...]]


def masked(texts: Sequence[str], beside: Iterable[str] = ()) -> list[list[MaskedWords]]:
    """The sentences of each text as words in small letters, a run of numbers as #, a run of names as @.

    beside: further texts that tell which words are written small.
    """
    read = [list(_sentences(text)) for text in texts]
    others = (sentence for text in beside for sentence in _sentences(text))
    small = {word for sentence in (*(one for text in read for one in text), *others) for word in sentence}
    return [[_masked(sentence, small) for sentence in text] for text in read]


def _sentences(text: str) -> Iterator[list[str]]:
    """Tokens as they are written, without the marks that end a sentence."""
    sentence: list[str] = []
    for found in _TOKEN.finditer(text):
        if found.lastgroup != "end":
            sentence.append(_POSSESSIVE.sub("", found.group()))
        elif sentence:
            yield sentence
            sentence = []
    if sentence:
        yield sentence


def _masked(sentence: Sequence[str], small: set[str]) -> MaskedWords:
    marked = []
    for place, word in enumerate(sentence):
        plain = word.lower()
        if word[0].isdigit() or plain in _NUMBER_WORDS:
            marked.append(NUMBER)
        elif word[0].isupper() and (place > 0 or plain not in small):
            marked.append(NAME)
        else:
            marked.append(plain)
    return tuple(word for word, run in groupby(marked) for word in (run if word not in (NUMBER, NAME) else (word,)))


def pairs(sentences: Iterable[MaskedWords]) -> WordPairs:
    """Neighbours within a sentence; the word itself of a sentence of one."""
    return frozenset(pair for words in sentences for pair in (pairwise(words) if len(words) > 1 else [words]))


@dataclass(frozen=True, slots=True)
class Nearest:
    """overlap: the greatest J of a text with any of the others; place: of the first of those that reach it."""

    overlap: float
    place: int

    @property
    def same(self) -> bool:
        """Whether it counts as a copy."""
        return self.overlap >= THRESHOLD


def nearest(texts: Sequence[str], others: Sequence[str]) -> list[Nearest]:
    """For each text that of the others it overlaps most; there must be some."""
    first, second = [pairs(one) for one in masked(texts, others)], [pairs(one) for one in masked(others, texts)]
    found = []
    for block in _overlaps(first, second):
        for row in block:
            place = int(row.argmax())
            found.append(Nearest(float(row[place]), place))
    return found


def clusters(texts: Sequence[str]) -> list[int]:
    """For each text the place of the first one of its cluster: texts joined by a chain of overlaps at the threshold."""
    if not texts:
        return []
    sets = [pairs(one) for one in masked(texts)]
    kinds = list(dict.fromkeys(sets))
    joined = sparse.vstack([sparse.csr_array(block >= THRESHOLD) for block in _overlaps(kinds, kinds)])
    _, labels = connected_components(joined, directed=False)
    label_of = dict(zip(kinds, labels.tolist(), strict=True))
    first: dict[int, int] = {}
    return [first.setdefault(label_of[one], place) for place, one in enumerate(sets)]


def _overlaps(
    first: Sequence[WordPairs], second: Sequence[WordPairs]
) -> Iterator[np.ndarray[tuple[int, int], np.dtype[np.float64]]]:
    """Blocks of rows of J, one a set of `first`, one column a set of `second`; two empty sets do not overlap."""
    column = {
        pair: place for place, pair in enumerate(dict.fromkeys(pair for one in (*first, *second) for pair in one))
    }
    right = _matrix(second, column)
    sizes = np.asarray([len(one) for one in second], dtype=np.float64)
    for start in range(0, len(first), AT_ONCE):
        some = first[start : start + AT_ONCE]
        common = (_matrix(some, column) @ right.T).toarray()
        whole = np.asarray([len(one) for one in some], dtype=np.float64)[:, None] + sizes - common
        yield np.divide(common, whole, out=np.zeros_like(common), where=whole > 0)


def _matrix(sets: Sequence[WordPairs], column: dict[tuple[str, ...], int]) -> sparse.csr_array:
    """One row a set, 1 where it has the pair of the column."""
    places = [column[pair] for one in sets for pair in one]
    ends = np.cumsum([0, *map(len, sets)])
    return sparse.csr_array((np.ones(len(places)), places, ends), shape=(len(sets), max(1, len(column))))
