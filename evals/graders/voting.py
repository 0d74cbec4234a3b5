"""Majority of whole responses: the answer that most of them end with, equal ones found by the problem's own grader."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from evals.data.problems import Grade, Problem
from evals.rows.row import VoteRecord
from gsi_node.core.choose import vote


class AnswerComparer(Protocol):
    """What a vote asks of the grader."""

    def same(self, problem: Problem, first: str, second: str) -> bool: ...


def majority(problem: Problem, grades: Sequence[Grade], grader: AnswerComparer) -> tuple[int, list[VoteRecord]]:
    """(the first response with the winning answer, the votes, most first).

    A response without an answer does not vote; of equally many votes the answer given first wins; where nobody has an
    answer, the first response stands for all.
    """
    ballots = vote([grade.predicted or None for grade in grades], partial(grader.same, problem))
    winner = ballots[0].voters[0] if ballots else 0
    return winner, [VoteRecord(answer=ballot.answer, voters=list(ballot.voters)) for ballot in ballots]
