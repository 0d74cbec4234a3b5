r"""Grading of responses: the last complete \boxed{…} against the gold answer, under the rules of the problem's kind.

    with Grader(workers=2) as grader:
        grader.grade(problem, r"… so the total is \boxed{18}.")    # Grade(correct=True, predicted="18", reason=None)

Letters, numbers and words are compared here; what needs algebra goes to math-verify in a process of its own, which is
killed when it takes longer than the limit. So no answer, whatever it holds, costs more than the limit or raises.
"""

from __future__ import annotations

from types import TracebackType

from evals.graders import letters, notation, pocket
from evals.graders.pool import Died, Pool, TimedOut
from evals.graders.rules import NeedsSymbolic, Rules, undecided
from evals.problems import KINDS, Grade, Problem
from gsi_node.answer import last_boxed
from gsi_node.errors import ConfigError

MAX_CHARACTERS = 2000
"""An answer longer than this is wrong: the longest gold answer of the known sets has 210 characters."""


class Grader:
    """Grades responses and compares answers; thread-safe, and a context manager over its processes.

    workers: how many processes may work at once, each started on first use. seconds: the hard limit of one grade.
    """

    def __init__(self, *, workers: int = 1, seconds: float = 5.0) -> None:
        self.seconds = seconds
        self._pool = Pool(workers, seconds)

    def __enter__(self) -> Grader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes; a later grade starts them again."""
        self._pool.close()

    def grade(self, problem: Problem, response: str) -> Grade:
        r"""Whether the last complete \boxed{…} of the response is the problem's answer.

        A response that cannot be graded is wrong, and the reason says why. Raises ConfigError for a kind of problem
        that no grader knows, BackendUnavailable where a process cannot be started (math-verify missing): never because
        of what a response holds.
        """
        predicted = last_boxed(response)
        if predicted is None:
            return Grade(False, None, "no complete \\boxed{…} in the response")
        if not predicted:
            return Grade(False, "", "the box is empty")
        if len(predicted) > MAX_CHARACTERS:
            return Grade(
                False, predicted[:MAX_CHARACTERS] + "…", f"an answer of {len(predicted)} characters is too long"
            )
        if notation.unprintable(predicted):
            return Grade(False, predicted, "the answer holds control characters")
        equal, reason = self._equal(problem, problem.answer, predicted)
        return Grade(equal, predicted, None if equal else reason)

    def same(self, problem: Problem, first: str, second: str) -> bool:
        """Whether two extracted answers are equal under the problem's grader, in either order; for majority votes."""
        if first == second:
            return True
        if max(len(first), len(second)) > MAX_CHARACTERS or any(map(notation.unprintable, (first, second))):
            return False
        if problem.kind == "rg":
            return Rules(undecided_is_false).equal(first, second)
        return any(self._equal(problem, *pair)[0] for pair in ((first, second), (second, first)))

    def gold_fault(self, problem: Problem) -> str | None:
        """Why the gold answer does not equal itself when its text is not compared, only what it means; None if it does.

        Such an answer is still right when a response writes it in the same words, and in no others.
        """
        if problem.kind not in ("math", "olympiad"):
            equal, reason = self._equal(problem, problem.answer, problem.answer)
        else:
            equal, reason = self._compared(problem, problem.answer, problem.answer, by_text=False)
        return None if equal else reason or "it is not equal to itself"

    def _equal(self, problem: Problem, gold: str, predicted: str) -> tuple[bool, str | None]:
        if problem.kind == "exact":
            return pocket.equal(gold, predicted)
        if problem.kind == "choice":
            return letters.equal(gold, predicted, problem.meta)
        if problem.kind not in KINDS:
            raise ConfigError(f"no grader for problems of kind {problem.kind!r}: use one of {', '.join(KINDS)}")
        return self._compared(problem, gold, predicted, by_text=True)

    def _compared(self, problem: Problem, gold: str, predicted: str, by_text: bool) -> tuple[bool, str | None]:
        if problem.kind != "rg":
            try:
                return Rules.of(problem.meta, undecided, by_text).equal(gold, predicted), None
            except NeedsSymbolic:
                pass
        request = {"kind": problem.kind, "meta": dict(problem.meta), "gold": gold, "predicted": predicted}
        try:
            reply = self._pool.ask(request | {"by_text": by_text})
        except TimedOut:
            return False, f"grading took longer than {self.seconds:g} s"
        except Died:
            return False, "the grading process died"
        return bool(reply["equal"]), reply["reason"]


def undecided_is_false(gold: str, predicted: str, rel_tol: object) -> bool:
    """A Symbolic that knows no algebra: what texts and numbers do not settle is not equal."""
    return False
