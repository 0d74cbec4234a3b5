"""Overlap of problems: what is masked, J by brute force, planted copies and near misses, clusters."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from evals.train_reward import overlap
from evals.train_reward.overlap import THRESHOLD, clusters, masked, nearest

BAKER = (
    "Maria bakes 24 muffins in the morning and 18 more in the afternoon. She gives a third of all the muffins to her "
    "neighbour Tom. The remaining muffins are sold at the market for $3 each. How many dollars does Maria earn?"
)
TRAIN = (
    "A train leaves the station at 8:15 and travels 60 miles per hour for 3 hours. After a break of half an hour it "
    "goes on at 45 miles per hour. How many miles has the train travelled when it arrives in Denver 2 hours later?"
)
COPIES = {
    "numbers": BAKER.replace("24", "350").replace("18", "1,204").replace("a third", "a quarter").replace("$3", "$2.75"),
    "number words": BAKER.replace("24", "twenty-four").replace("18 more", "18 1/2 more"),
    "names": BAKER.replace("Maria", "Ngozi").replace("Tom", "Li Wei"),
    "a name in front": BAKER.replace("Maria bakes", "Oskar bakes"),
    "order": " ".join(f"{BAKER.split('. ')[k].rstrip('.')}." for k in (2, 0, 1)) + " " + BAKER.split(". ")[3],
    "marks": BAKER.replace(". ", "!\n").replace("market", "*market*").lower(),
}
MISSES = {
    "other world, same people": "Maria and Tom share a flat of 60 square metres. The rent is $900 in all, and Maria "
    "pays a third of it. How many dollars does Tom pay each month?",
    "same goods, other question": "A market sells muffins at $3 each and a box of 6 muffins for $15. How many dollars "
    "does Tom save when he takes 24 muffins in boxes?",
    "same question, other story": "Maria picks 24 apples in the orchard, and her brother picks twice as many. They "
    "press a litre of juice from every 6 apples and get $2 a litre. How many dollars does Maria earn?",
    "another train": "Two trains of 200 metres meet on a bridge. One goes at 60 miles per hour. How long is the "
    "bridge if they part after 40 seconds?",
}


def test_what_is_masked() -> None:
    texts = [
        "Janet’s ducks lay sixteen eggs, 3.5 dozen at 5:30. The new ducks of Mr. Lee don't.",
        r"Find $\frac{1}{2} x+3$ in New York, twenty-five miles (3/4) from janetville; the ducks do.",
    ]
    assert masked(texts) == [
        [("@", "ducks", "lay", "#", "eggs", "#", "at", "#"), ("the", "new", "ducks", "of", "@"), ("@", "don't")],
        [
            ("@", r"\frac", "#", "x", "+", "#", "in", "@", "#", "miles", "#", "from", "janetville"),
            ("the", "ducks", "do"),
        ],
    ]
    assert masked(texts[1:], ["we find"])[0][0][0] == "find"  # no name: it is written small somewhere


def by_hand(first: str, second: str) -> float:
    """J, from the sets of pairs spelled out."""

    def sets(sentences: Iterable[tuple[str, ...]]) -> set[tuple[str, ...]]:
        return {words[k : k + 2] for words in sentences for k in range(max(1, len(words) - 1))}

    one, other = sets(masked([first], [second])[0]), sets(masked([second], [first])[0])
    return len(one & other) / len(one | other)


def test_the_nearest_is_that_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "AT_ONCE", 3)
    rng = np.random.default_rng(0)
    words = np.asarray("a b c d e f 1 2 .".split())
    texts = [" ".join(rng.choice(words, 12)) for _ in range(11)]
    others = [" ".join(rng.choice(words, 12)) for _ in range(8)]
    for text, found in zip(texts, nearest(texts, others), strict=True):
        every = [by_hand(text, other) for other in others]
        assert found.overlap == pytest.approx(max(every)) and every[found.place] == pytest.approx(max(every))
    assert nearest(["", "?"], ["", "a b"]) == [overlap.Nearest(0.0, 0)] * 2  # nothing in common, not everything


@pytest.mark.parametrize("change", COPIES)
def test_a_copy_with_other_numbers_names_or_order_is_found(change: str) -> None:
    (found,) = nearest([COPIES[change]], [TRAIN, BAKER])
    assert found.same and found.place == 1 and found.overlap > 0.6
    assert clusters([TRAIN, BAKER, COPIES[change]]) == [0, 1, 1]


def test_a_copy_in_all_ways_is_found() -> None:
    text = COPIES["order"].replace("Maria", "Ngozi").replace("Tom", "Li Wei").replace("24", "9").replace("18", "1,000")
    assert nearest([text], [TRAIN, BAKER])[0].overlap > 0.6


@pytest.mark.parametrize("miss", MISSES)
def test_a_near_miss_is_none(miss: str) -> None:
    (found,) = nearest([MISSES[miss]], [TRAIN, BAKER])
    assert not found.same and found.overlap < 0.75 * THRESHOLD
    assert clusters([TRAIN, BAKER, MISSES[miss]]) == [0, 1, 2]


def test_copies_of_copies_are_one_cluster() -> None:
    sentences = ["The blue bird sings well", "A cat sleeps there", "Some dog barks now", "One fish swims far"]
    chain = [". ".join(sentences[k : k + 2]) for k in range(3)]
    assert by_hand(chain[0], chain[2]) == 0.0
    assert clusters([*chain, "Nothing of it at all"]) == [0, 0, 0, 3]
    assert clusters([]) == []
