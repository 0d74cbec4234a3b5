"""What judges a step's candidates: the reward, and the base by its scores; both early, where a run judges early.

  hear     some of y_1..y_n have ended                                        (told by the thread that draws)
  judge    those that are new, each once, in one call                         (a thread a judge, while there are any)
  answer   the run's own call over all of them, in their order, by its value  (guesses.py)

Nothing is asked that the run would not ask, and an answer is a function of what is asked (docs/math.md §8): so
records, checkpoints and usage, its seconds excepted, are those of a run that judges when all have ended.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from threading import Event, RLock
from typing import Any

from gsi_node.cancel import begin_apart
from gsi_node.core.choose import random_order
from gsi_node.hearing import Ended, at_hand
from gsi_node.step import stages
from gsi_node.step.calls import Stage, run
from gsi_node.step.context import StepContext
from gsi_node.step.guess import CallValue, Promise, answering, calls_of, value_of
from gsi_node.step.guesses import current_guesses, unguessing
from gsi_node.types import Score, Step

JudgeStage = Callable[[Sequence[Step]], Stage[list[Any]]]


def rewards_of(context: StepContext, steps: Sequence[Step]) -> Stage[list[float]]:
    """r(x, y_i)."""
    return stages.reward(context.reward, context.prefix, steps)


def scores_of(context: StepContext, steps: Sequence[Step]) -> Stage[list[Score]]:
    """log π_B(y_i | x), nats."""
    return stages.score(context.base, context.prefix, steps, context.law)


class EarlyJudge:
    """One judge of the candidates of one step. answers: to the run's call, once it is known which that will be.

    vocabulary: what the run says of steps before it hands them on.
    """

    def __init__(self, judge: JudgeStage, vocabulary: str) -> None:
        self.answers: dict[CallValue, Promise] = {}
        self._judge, self._vocabulary = judge, vocabulary
        self._promise = Promise()
        self._context = unguessing()
        self._context.run(answering, self._promise)
        self._flag, self._lock = Event(), RLock()
        self._come: list[Callable[[], Step]] = []
        self._all: Sequence[Step] | None = None
        self._known: dict[Hashable, Any] = {}
        self._heard = self._working = self._over = False

    def hear(self, ended: Ended) -> None:
        """These have ended."""
        with self._lock:
            self._heard = True
            self._add(list(ended.values()))

    def close(self, steps: Sequence[Step]) -> None:
        """These are all that it judges, in the order of the run's call. It heard of none: then that asks for itself."""
        with self._lock:
            if not self._heard or self._over:
                return
            try:
                [call] = calls_of(next(self._judge(steps)))
                value = value_of(call)
            except Exception:  # noqa: BLE001 (as in Guess: the run is told, where it asks)
                self.drop()
                return
            self._all = steps
            self.answers[value] = self._promise
            self._add(list(at_hand(steps).values()))

    def drop(self) -> None:
        """End its work; a run that waits for it asks for itself."""
        with self._lock:
            self._over, self._come = True, []
            self._flag.set()
            if not self._promise.done():
                self._promise.set_result(None)

    def _add(self, come: list[Callable[[], Step]]) -> None:
        if self._over:
            return
        self._come += come
        if not self._working:
            try:
                self._context.run(begin_apart, self._work, self._flag, "gsi-early")
            except RuntimeError:  # there can be no more threads
                self.drop()
            else:
                self._working = True

    def _work(self) -> None:
        try:
            while come := self._next():
                steps = {_said(step): step for step in (made() for made in come)}
                new = [step for said, step in steps.items() if said not in self._known]
                if new:
                    asked = [replace(step, vocabulary=self._vocabulary) for step in new]
                    self._known.update(zip(map(_said, new), run(self._judge(asked))[0], strict=True))
        except BaseException:  # noqa: BLE001 (as in Guess: the run asks for itself, and is told what is wrong)
            self.drop()

    def _next(self) -> list[Callable[[], Step]]:
        """Those that have ended since; with none its work is over, for ever where these were all."""
        with self._lock:
            come, self._come = self._come, []
            if not come:
                self._working = False
                if self._all is not None and not self._over:
                    self._over = True
                    self._promise.set_result([self._known[_said(step)] for step in self._all])
            return come


@dataclass(frozen=True, slots=True)
class EarlyJudges:
    """Those of a step that is about to be drafted. wanted: the places of candidates that are judged for certain."""

    judges: Sequence[EarlyJudge]
    wanted: Collection[int]

    def hear(self, ended: Ended) -> None:
        """These have ended."""
        if some := {place: cache(made) for place, made in ended.items() if place in self.wanted}:
            for judge in self.judges:
                judge.hear(some)

    def close(self, steps: Sequence[Step]) -> None:
        """These are all that it wants, in the order in which the run asks for them."""
        for judge in self.judges:
            judge.close(steps)

    def drop(self) -> None:
        """Nothing of the step is judged."""
        for judge in self.judges:
            judge.drop()


def judging_early(context: StepContext) -> EarlyJudges | None:
    """The judges of a step that is about to be drafted; None where they are asked when all candidates have ended.

    Of a scan they judge its first chunk, since a further one may not be wanted.
    """
    guesses, method = current_guesses(), context.method
    asked = [rewards_of] * method.uses_reward + [scores_of] * method.uses_score
    if guesses is None or not context.config.judge_early or context.n == 1 or not asked:
        return None
    vocabulary = ""
    if context.models.by_text:
        vocabulary = (context.draft if method.propose == "draft" else context.base).vocabulary
    judges = [EarlyJudge(partial(judge, context), vocabulary) for judge in asked]
    guesses.judge(judges)
    if not method.scans:
        return EarlyJudges(judges, range(context.n))
    order = random_order(context.n, context.chooser("order"))
    return EarlyJudges(judges, order[: context.config.chunk_size])


def _said(step: Step) -> Hashable:
    """What a judge reads of a step: not how likely its draft was, which several drafts tell of together later."""
    return step.text, step.token_ids, step.finished, step.thought
