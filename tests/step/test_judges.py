"""What is judged early, and what becomes of it where it fails, or where the run is left."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from gsi_node.cancel import current_flag
from gsi_node.errors import BackendError
from gsi_node.graph.build import compile_gsi
from gsi_node.hearing import at_hand
from gsi_node.step.calls import Call, Stage
from gsi_node.step.config import GSIConfig
from gsi_node.step.context import Models
from gsi_node.step.guess import Promise, _queues, when_used
from gsi_node.step.guesses import Guesses, current_guesses, guessing
from gsi_node.step.judges import EarlyJudge
from gsi_node.step.solve import solve
from gsi_node.tables.models import table_step
from gsi_node.types import Prefix, Step
from tests.graph.ahead import parts as guessing_parts
from tests.graph.early import Noting, is_early, judges_alive, parts, quiet
from tests.graph.world import config

STEPS = [table_step(f"{name}\n\n", -1.0) for name in "abcab"]


class Counting:
    """A reward of lengths, which can be held up; notes what it was asked."""

    fingerprint, range = "counting", (0.0, 9.0)

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.used = 0
        self.gate, self.begun = threading.Event(), threading.Event()
        self.gate.set()
        self.error: BaseException | None = None
        self.cancelled = False

    def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        self.asked.append([step.text[0] for step in steps])
        self.begun.set()
        assert self.gate.wait(10)
        flag = current_flag()
        self.cancelled = flag is not None and flag.is_set()
        if self.error is not None:
            raise self.error
        when_used(self._note)
        return [float(ord(step.text[0]) - ord("a")) for step in steps]

    def _note(self) -> None:
        self.used += 1


def judge_of(reward: Counting) -> EarlyJudge:
    def ask(steps: Sequence[Step]) -> Stage[list[float]]:
        values: list[float] = yield Call("reward", reward, "__call__", (Prefix("p"), steps), steps)
        return values

    return EarlyJudge(ask, "")


def call(reward: Counting, steps: Sequence[Step]) -> Call:
    return Call("reward", reward, "__call__", (Prefix("p"), list(steps)), steps)


def answer_to(judge: EarlyJudge, asked: Call) -> Promise | None:
    guesses = Guesses(0)
    guesses.judge([judge])
    return guesses.taken(asked)


def test_those_that_end_meanwhile_are_one_call() -> None:
    """Each text once; the answer is in the run's order, and what it costs counts once it is used."""
    reward = Counting()
    judge, ended = judge_of(reward), at_hand(STEPS)
    reward.gate.clear()
    judge.hear({1: ended[1]})
    until = time.monotonic() + 10
    while not reward.asked and time.monotonic() < until:
        time.sleep(0.0005)
    judge.hear({4: ended[4]})  # the same text as that which is judged
    judge.hear({0: ended[0], 3: ended[3]})
    reward.gate.set()
    assert quiet()
    judge.close(STEPS)
    found = answer_to(judge, call(reward, STEPS))
    assert found is not None and found.result(10) == [0.0, 1.0, 2.0, 0.0, 1.0]
    assert reward.asked == [["b"], ["a"], ["c"]] and reward.used == 0
    assert found.take() == found.result() and reward.used == 3 and quiet()


def test_the_answer_is_to_that_call_alone() -> None:
    reward = Counting()
    judge = judge_of(reward)
    judge.hear({0: at_hand(STEPS)[0]})
    assert answer_to(judge, call(reward, STEPS)) is None, "it is not yet known which call that will be"
    judge = judge_of(reward)
    judge.hear({0: at_hand(STEPS)[0]})
    judge.close(STEPS)
    other = [*STEPS[:4], table_step("d\n\n", -1.0)]
    assert answer_to(judge, call(reward, other)) is None and answer_to(judge, call(reward, STEPS[:4])) is None
    assert answer_to(judge, call(reward, STEPS)) is not None and quiet()


def test_what_was_told_and_is_not_the_answer_is_no_part_of_it() -> None:
    """A model that tells wrong, or draws again: the step that it returns is judged."""
    reward = Counting()
    judge = judge_of(reward)
    reward.range = (0.0, 30.0)
    judge.hear({0: at_hand([table_step("z\n\n", -1.0)])[0]})
    assert quiet()
    judge.close(STEPS)
    found = answer_to(judge, call(reward, STEPS))
    assert found is not None and found.result(10) == [0.0, 1.0, 2.0, 0.0, 1.0]
    assert reward.asked[0] == ["z"] and sorted("".join(map("".join, reward.asked[1:]))) == ["a", "b", "c"] and quiet()


def test_of_a_model_that_tells_nothing_the_run_asks() -> None:
    reward = Counting()
    judge = judge_of(reward)
    judge.close(STEPS)
    assert not judge.answers and not reward.asked and not judges_alive()


def test_no_thread_waits_for_the_draft() -> None:
    reward = Counting()
    judge = judge_of(reward)
    judge.hear({0: at_hand(STEPS)[0]})
    assert quiet() and reward.asked == [["a"]]
    judge.hear({2: at_hand(STEPS)[2]})
    assert quiet() and reward.asked == [["a"], ["c"]]


@pytest.mark.parametrize("when", ["in a chunk", "before", "no thread"])
def test_a_judge_that_is_dropped_asks_nothing_more(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does anybody wait for it: who does asks for itself."""
    reward = Counting()
    judge = judge_of(reward)
    if when == "in a chunk":
        reward.gate.clear()
        judge.hear({0: at_hand(STEPS)[0]})
        assert reward.begun.wait(10)
        judge.hear({1: at_hand(STEPS)[1]})
        judge.close(STEPS)
        found = answer_to(judge, call(reward, STEPS))
        judge.drop()
        reward.gate.set()
        assert quiet() and reward.asked == [["a"]] and found is not None and found.result(0) is None
        assert reward.cancelled
    elif when == "before":
        judge.drop()
        judge.hear({0: at_hand(STEPS)[0]})
        judge.close(STEPS)
        assert not reward.asked and not judge.answers and not judges_alive()
    else:
        monkeypatch.setattr(threading.Thread, "start", _no_thread)
        judge.hear({0: at_hand(STEPS)[0]})
        judge.close(STEPS)
        assert not reward.asked and not judge.answers


def _no_thread(self: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


class FailingEarly(Noting):
    """Fails where it is asked early, or everywhere."""

    everywhere = False
    error: BaseException

    def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        found = super().__call__(prefix, steps)
        if self.everywhere or is_early():
            raise self.error
        return found


@pytest.mark.parametrize("error", [BackendError("no luck"), SystemExit(1), ValueError("of the reward's own")])
def test_a_judge_that_fails_is_asked_anew(error: BaseException) -> None:
    """By the run, of all, which alone is billed; and told what is wrong by it."""
    still = solve("p", Models(**parts()), config())
    own = parts()
    own["reward"] = FailingEarly(own["reward"]._table, name="reward")
    own["reward"].error = error
    found = solve("p", Models(**own), config(judge_early=True))
    assert found.steps == still.steps and any(early for early, _ in own["reward"].asked)
    assert _costs(found) == _costs(still)
    own["reward"].everywhere = True
    with pytest.raises(type(error), match=str(error)):
        solve("p", Models(**own), config(judge_early=True))
    assert quiet() and not _queues.asked


def _costs(solution: Any) -> Any:
    return {role: (bill.generated_tokens, bill.scored_tokens, bill.calls) for role, bill in solution.usage.items()}


class Slowly(Noting):
    """Judges take a little longer than a stream takes to be left; keeps nothing."""

    early = 0

    def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        if is_early():
            self.early += 1
            time.sleep(0.0005)
        return [0.9] * len(steps)


def test_a_thousand_abandoned_runs_leave_no_work() -> None:
    """Streams that are left in the middle: no threads, no entries in a queue, no judges, and no memory."""
    own = {**parts(), "reward": Slowly({}, name="r")}
    own["draft"].waits = own["base"].waits = False
    own["base"].scored = own["draft"].scored = _Forgetful()
    graph = compile_gsi(**own, config=config(judge_early=True))

    def abandon(runs: int) -> tuple[int, int]:
        for i in range(runs):
            chunks: Any = graph.stream({"problem": f"p{i}"}, stream_mode="updates")
            for _ in itertools.islice(chunks, 2 + i % 4):
                pass
            chunks.close()
        assert quiet() and not _queues.asked
        gc.collect()
        things = gc.get_objects()
        return sum(type(thing) in (EarlyJudge, Guesses) for thing in things), len(things)

    before = abandon(50)
    after = abandon(950)
    assert after[0] == before[0] and after[1] - before[1] < 500
    assert own["reward"].early > 500


class _Forgetful(list[Any]):
    def append(self, item: Any) -> None:
        pass


def test_an_interrupt_ends_the_judges() -> None:
    """Their calls are cancelled; and one that began after its run was over judges nothing."""
    reward = Counting()
    reward.gate.clear()
    with pytest.raises(KeyboardInterrupt), guessing(0):
        guesses = current_guesses()
        assert guesses is not None
        guesses.judge([judge := judge_of(reward)])
        judge.hear({0: at_hand(STEPS)[0]})
        until = time.monotonic() + 10
        while not reward.asked and time.monotonic() < until:
            time.sleep(0.0005)
        raise KeyboardInterrupt
    assert len(judges_alive()) == 1
    reward.gate.set()
    assert quiet() and reward.cancelled
    assert guesses is not None
    guesses.judge([late := judge_of(reward)])
    late.hear({1: at_hand(STEPS)[1]})
    assert quiet() and reward.asked == [["a"]]


def test_a_cancelled_task_ends_the_judges() -> None:
    """While the reward judges what has ended, the awaited draft is left: the judge's flag is raised."""
    reward, own = Counting(), parts()
    own["draft"].waits = False
    reward.gate.clear()
    own["reward"] = reward

    async def left() -> None:
        graph = compile_gsi(**own, config=config(judge_early=True, method="rsd-n"))
        task = asyncio.ensure_future(graph.ainvoke({"problem": "p"}))
        while not reward.asked:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    reward.range = (-99.0, 99.0)
    asyncio.run(asyncio.wait_for(left(), 20))
    reward.gate.set()
    assert quiet() and reward.cancelled and len(reward.asked) == 1


def test_settings() -> None:
    """Off by default; guesses are none of its business."""
    assert not GSIConfig().judge_early and GSIConfig().guesses is None
    assert GSIConfig(judge_early=True).guesses == 0 and GSIConfig(lookahead=2).guesses == 2
    assert "judge_early" not in GSIConfig(judge_early=True).identity()
    own = guessing_parts()
    compile_gsi(**own, config=config(judge_early=True, threshold=50.0, max_steps=3)).invoke({"problem": "p"})
    assert own["base"].asked and not own["base"].guessed, "a certain fallback is begun by lookahead alone"
