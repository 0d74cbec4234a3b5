r"""Grading of responses: the last complete \boxed{…} against the gold answer, under the rules of the problem's kind.

    with Grader(workers=2) as grader:
        grader.grade(problem, r"… so the total is \boxed{18}.")    # Grade(correct=True, predicted="18", reason=None)

All of it happens in a process of its own, which ends when it has taken more processor time than the limit: no answer,
whatever it holds, costs more, blocks or raises. Compared here is only what cannot take long: short plain numbers, and
single letters.
"""

from __future__ import annotations

import re
from copy import copy
from importlib.util import find_spec
from math import isfinite

from evals.data.problems import KINDS, Grade, Problem, Ungraded
from evals.graders import letters, notation, pocket
from evals.graders.messages import GradeReply, GradeRequest
from evals.graders.pool import Pool, ProcessDied, TimedOut
from evals.graders.rules import NeedsSymbolic, Rules, undecided
from gsi_node.answer import last_boxed
from gsi_node.bases import Closing
from gsi_node.errors import BackendUnavailable, ConfigError
from gsi_node.needs import install_extra

MAX_CHARACTERS = 2000
"""An answer longer than this is wrong: the longest gold answer of the known sets has 210 characters."""
MAX_RESPONSE = 2_000_000
"""A response longer than this is wrong: its box is not looked for."""
SHORT_RESPONSE = 20_000
"""Up to here the box is found without a process: one pass over so few characters takes milliseconds."""
_NUMBER = re.compile(r"[-+]?[0-9][0-9., /+-]{0,30}")
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_LETTER = re.compile(r"[A-Za-z]")


class Grader(Closing):
    """Grades responses and compares answers; thread-safe, and a context manager over its processes.

    workers: how many processes may work at once, each started on first use. seconds: the limit of one comparison, in
    seconds of processor time. Raises ConfigError where either is no limit.
    """

    def __init__(self, *, workers: int = 1, seconds: float = 5.0) -> None:
        if not (isfinite(seconds) and seconds > 0):
            raise ConfigError(f"the limit of a grade must be a finite number of seconds > 0, not {seconds}")
        self.seconds = seconds
        self._left: float | None = None
        self._whole = 0.0
        self._pool = Pool(workers)

    def close(self) -> None:
        """End the processes; a later grade starts them again."""
        self._pool.close()

    def limited(self, seconds: float) -> Grader:
        """A grader on the same processes, for one thread, all of whose work together may take `seconds`."""
        budgeted = copy(self)
        budgeted._left = budgeted._whole = seconds
        return budgeted

    def grade(self, problem: Problem, response: str) -> Grade:
        r"""Whether the last complete \boxed{…} of the response is the problem's answer.

        A response in which nothing can be read is wrong, and the reason says why. `correct` is None where nobody knows:
        the limit was reached, or the process died; the reason says which. Raises ConfigError for a kind of problem that
        no grader knows, BackendUnavailable where a process cannot be started or mpmath is missing: never because
        of what a response holds.
        """
        if len(response) > MAX_RESPONSE:
            return Grade(False, None, f"a response of {len(response)} characters is too long")
        predicted: str | None = None
        try:
            predicted, length = self._boxed(response)
            if predicted is None:
                return Grade(False, None, "no complete \\boxed{…} in the response")
            if not predicted:
                return Grade(False, "", "the box is empty")
            if length > MAX_CHARACTERS:
                return Grade(False, predicted[:MAX_CHARACTERS] + "…", f"an answer of {length} characters is too long")
            if notation.unprintable(predicted):
                return Grade(False, predicted, "the answer holds control characters")
            equal, reason = self._equal(problem, problem.answer, predicted)
        except Ungraded as error:
            return Grade(None, predicted, str(error))
        return Grade(equal, predicted, None if equal else reason)

    def same(self, problem: Problem, first: str, second: str) -> bool:
        """Whether two extracted answers are equal under the problem's grader, in either order; for majority votes.

        Raises Ungraded where nobody knows.
        """
        if first == second:
            return True
        if max(len(first), len(second)) > MAX_CHARACTERS or any(map(notation.unprintable, (first, second))):
            return False
        if problem.kind == "rg":  # its scorer compares with the entry only: as texts and numbers, without algebra
            return self._compared("text", {}, first, second)[0]
        return any(self._equal(problem, *pair)[0] for pair in ((first, second), (second, first)))

    def gold_fault(self, problem: Problem) -> str | None:
        """Why the gold answer does not equal itself when its text is not compared, only what it means; None if it does.

        Such an answer is still right when a response writes it in the same words, and in no others. Raises Ungraded.
        """
        by_text = problem.kind not in ("math", "olympiad")
        equal, reason = self._equal(problem, problem.answer, problem.answer, by_text=by_text)
        return None if equal else reason or "it is not equal to itself"

    def _boxed(self, response: str) -> tuple[str | None, int]:
        """The content of the last box, cut behind the longest answer, and its length."""
        if len(response) <= SHORT_RESPONSE:
            box = last_boxed(response)
            return box, len(box or "")
        reply = self._asked({"response": response, "longest": MAX_CHARACTERS + 1})
        return reply["box"], reply["length"]

    def _equal(self, problem: Problem, gold: str, predicted: str, *, by_text: bool = True) -> tuple[bool, str | None]:
        if problem.kind not in KINDS:
            raise ConfigError(f"no grader for problems of kind {problem.kind!r}: use one of {', '.join(KINDS)}")
        return self._compared(problem.kind, dict(problem.meta), gold, predicted, by_text=by_text)

    def _compared(
        self, kind: str, meta: dict[str, object], gold: str, predicted: str, *, by_text: bool = True
    ) -> tuple[bool, str | None]:
        if kind != "rg":
            plainly = _plainly(kind, meta, gold, predicted, by_text)
            if plainly is not None:
                return plainly
        reply = self._asked({"kind": kind, "meta": meta, "gold": gold, "predicted": predicted, "by_text": by_text})
        return bool(reply["equal"]), reply["reason"]

    def _asked(self, request: GradeRequest) -> GradeReply:
        """The reply of a process, within what is left of the limits. Raises Ungraded."""
        if self._left is not None and self._left <= 0:
            raise Ungraded(f"grading a vote took longer than {self._whole:g} s of processor time")
        seconds = self.seconds if self._left is None else min(self.seconds, self._left)
        spent = seconds
        try:
            reply = self._pool.ask(request, seconds)
            spent = float(reply["spent"])
        except TimedOut as error:
            whole = seconds < self.seconds
            raise Ungraded(
                f"grading {'a vote ' if whole else ''}took longer than {self._whole if whole else seconds:g} s of "
                "processor time"
            ) from error
        except ProcessDied as error:
            raise Ungraded(str(error)) from error
        finally:
            if self._left is not None:
                self._left -= spent
        if "ungraded" in reply:
            raise Ungraded(reply["ungraded"])
        return reply


def check_installed(kinds: set[str]) -> None:
    """Raise BackendUnavailable where what compares answers of these kinds is not installed: before models are paid."""
    needs = {"math": ("mpmath", "evals"), "olympiad": ("mpmath", "evals"), "rg": ("reasoning_gym", "rg")}
    for package, extra in sorted({needs[kind] for kind in kinds if kind in needs}):
        if find_spec(package) is None:
            raise BackendUnavailable(f"grading needs the package {package}: {install_extra(extra)}")


def _plainly(
    kind: str, meta: dict[str, object], gold: str, predicted: str, by_text: bool
) -> tuple[bool, str | None] | None:
    """The same verdict without a process, of short plain numbers and of single letters; None for anything else."""
    if kind == "choice":
        if not (_LETTER.fullmatch(gold) and _LETTER.fullmatch(predicted)):
            return None
        count = len(letters.read_choices(meta))
        lettered = all(ord(one.upper()) - ord("A") < count for one in (gold, predicted))
        return (gold.upper() == predicted.upper(), None) if lettered else None
    if not (_NUMBER.fullmatch(gold) and _NUMBER.fullmatch(predicted)):
        return None
    if kind == "exact":
        return pocket.equal(gold, predicted)
    if _WHOLE.fullmatch(gold) and _WHOLE.fullmatch(predicted) and not any(map(meta.get, ("abs_tol", "unit"))):
        return int(gold) == int(predicted), None
    try:
        return Rules.of(meta, undecided, by_text).equal(gold, predicted), None
    except NeedsSymbolic:
        return None
