"""The vote: groups, weights, ties, and an equality of the caller's own."""

from __future__ import annotations

import itertools
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gsi_node.core.choose import Ballot, vote


def test_the_most_frequent_answer_wins_and_none_does_not_vote() -> None:
    ballots = vote(["7", None, "8", "7 ", None])
    assert ballots == [Ballot("7", 2.0, (0, 3)), Ballot("8", 1.0, (2,))]
    assert vote([None, None]) == vote([]) == []


def test_among_equals_the_lowest_voter_wins() -> None:
    for order in itertools.permutations(["7", "8", "9"]):
        assert [ballot.answer for ballot in vote(order)] == list(order)
    assert vote(["9", "7", "7", "9"])[0].answer == "9"


def test_weights_decide_and_their_sum_does_not_depend_on_the_order() -> None:
    assert vote(["7", "8", "7"], weights=[0.1, 0.5, 0.2])[0] == Ballot("8", 0.5, (1,))
    tenths = [0.1] * 10
    assert vote(["7"] * 10 + ["8"], weights=[*tenths, 1.0])[0] == Ballot("7", 1.0, tuple(range(10)))


def test_notation_of_an_answer_is_plain() -> None:
    assert len(vote([r"\dfrac12", r"$\frac 12$", r"\tfrac{1}{2}"])) == 2
    assert vote([r"\tfrac12", r"\dfrac 12"])[0].voters == (0, 1)


def test_a_space_between_digits_is_part_of_an_answer() -> None:
    assert [ballot.voters for ballot in vote(["1 1/2", "11/2", "1  1/2", " 1 1 /2 "])] == [(0, 2, 3), (1,)]
    assert len(vote(["3 4", "34"])) == 2
    assert len(vote(["3 n", "3n", "$3 n$"])) == 1


def test_an_equality_of_ones_own_is_asked_of_first_answers_only() -> None:
    asked = []

    def near(first: str, second: str) -> bool:
        asked.append((first, second))
        return abs(int(first) - int(second)) <= 1

    # 1 ~ 2 and 2 ~ 3, but not 1 ~ 3: the first answer of a group speaks for it
    assert [ballot.voters for ballot in vote(["1", "2", "3"], near)] == [(0, 1), (2,)]
    assert asked == [("1", "2"), ("1", "3")]


@given(st.lists(st.sampled_from(["1", "2", "3", None]), max_size=9))
def test_it_is_the_count(answers: list[str | None]) -> None:
    counts = Counter(answer for answer in answers if answer is not None)
    assert {ballot.answer: ballot.weight for ballot in vote(answers)} == dict(counts)
    if counts:
        winner = vote(answers)[0]
        best = [answer for answer in counts if counts[answer] == max(counts.values())]
        assert winner.answer == min(best, key=answers.index)
