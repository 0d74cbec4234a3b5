"""When guesses are made, and what becomes of those that are wrong, fail, or are left behind."""

from __future__ import annotations

import gc
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gsi_node.cancel import current_flag
from gsi_node.errors import BackendError
from gsi_node.graph.build import compile_gsi
from gsi_node.step.calls import Call, Stage
from gsi_node.step.config import GSIConfig
from gsi_node.step.context import Models
from gsi_node.step.guess import Guess, _queues, asking
from gsi_node.step.guesses import Guesses, current_guesses, guessing
from gsi_node.step.solve import solve
from gsi_node.tables.models import TableModel
from gsi_node.tables.rewards import TableReward
from gsi_node.types import Key, Prefix, SamplingLaw, Step
from tests.graph.ahead import Telling, guesses_alive, parts, settled
from tests.graph.world import config, steps_then_answer

GO_ON = Step("go on\n\n", (1, 2), -1.0, False)
LAW = SamplingLaw(eos_ids=(9,))


class Named:
    """A model whose answers are what it was asked, with a gate."""

    def __init__(self, fingerprint: str = "m") -> None:
        self.fingerprint = fingerprint
        self.gate = threading.Event()
        self.gate.set()
        self.asked, self.cancelled = 0, False
        self.ids: dict[str, tuple[int, ...]] = {}

    def prefix_ids(self, prefix: Prefix) -> tuple[int, ...]:
        return self.ids.get(prefix.problem, tuple(i for step in prefix.steps for i in step.token_ids))

    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        self.asked += 1
        assert self.gate.wait(10)
        flag = current_flag()
        self.cancelled = flag is not None and flag.is_set()
        return [replace(GO_ON, token_ids=(key.step, n, law.max_step_tokens), text=prefix.text)] * n


def call(model: Any, **other: Any) -> Call:
    asked = {"prefix": Prefix("p", (GO_ON,)), "n": 2, "key": Key(0, "p", 1, "draft"), "law": LAW, **other}
    return Call("draft", model, "sample", (asked["prefix"], asked["n"], asked["key"], asked["law"]))


def stage(*calls: Call | tuple[Call, ...]) -> Stage[None]:
    for one in calls:
        _ = yield one  # a tuple's iterator takes no answers


def held(*calls: Call, most: int = 2) -> Guesses:
    guesses = Guesses(most)
    guesses.hold([stage(one) for one in calls])
    return guesses


OTHERS: dict[str, Callable[[Named], Call]] = {
    "prefix": lambda m: call(m, prefix=Prefix("p", (GO_ON, GO_ON))),
    "a step's ids": lambda m: call(m, prefix=Prefix("p", (replace(GO_ON, token_ids=(2, 1)),))),
    "problem": lambda m: call(m, prefix=Prefix("q", (GO_ON,))),
    "n": lambda m: call(m, n=3),
    "seed": lambda m: call(m, key=Key(1, "p", 1, "draft")),
    "step": lambda m: call(m, key=Key(0, "p", 2, "draft")),
    "phase": lambda m: call(m, key=Key(0, "p", 1, "fallback")),
    "cut": lambda m: call(m, law=replace(LAW, max_step_tokens=7)),
    "temperature": lambda m: call(m, law=replace(LAW, temperature=1.0)),
    "model": lambda m: call(Named("other")),
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_guess_is_taken_up_by_value(what: str) -> None:
    """Equal values have the answer; one that differs in anything asks anew, and the guess is dropped."""
    model = Named()
    guesses = held(call(model))
    same = guesses.taken(call(model))
    assert same is not None and same.result(10) == model.sample(*call(model).args)
    guesses = held(call(model))
    assert settled() and guesses.taken(OTHERS[what](model)) is None
    assert guesses.taken(call(model)) is None, "dropped"
    assert guesses.spent() == {"draft": 6}


def test_the_rendered_ids_are_compared() -> None:
    """A template may write the time of day: the same prefix is then another."""
    model = Named()
    guesses = held(call(model))
    model.ids["p"] = (77,)
    assert guesses.taken(call(model)) is None


def test_a_run_waits_for_a_guess_under_way() -> None:
    model = Named()
    model.gate.clear()
    with guessing(1):
        guesses = current_guesses()
        assert guesses is not None
        guesses.hold([stage(call(model))])
        threading.Timer(0.05, model.gate.set).start()
        assert call(model).now() == model.sample(*call(model).args)
    assert model.asked == 2, "once for the guess, once for this test"


def test_only_while_nobody_waits_for_the_model() -> None:
    """No guess begins beside a run's call, and one under way gives way to it; but one that a run will want."""
    model, other = Named(), Named("other")
    with asking(model):
        assert held(call(model)).taken(call(model)) is None and not model.asked
        assert held(call(other)).taken(call(other)) is not None
        sure = Guesses(1)
        sure.hold([stage(call(model))], wanted=True)
        found = sure.taken(call(model))
        assert found is not None and found.result(10)
    model.gate.clear()
    guesses = held(call(model))
    with asking(model):
        pass
    model.gate.set()
    assert guesses.taken(call(model)) is None and settled()


def test_no_more_than_twice_k_for_one_model() -> None:
    """Whoever's they are, and though the model does not hear that they were dropped."""
    model = Named()
    model.gate.clear()
    for i in range(20):
        guesses = held(*(call(model, n=10 * i + j) for j in range(2)))
        guesses.end()
    assert len(guesses_alive()) == 4 == len(_queues.guesses[id(model)])
    model.gate.set()
    assert settled() and not _queues.guesses and not _queues.asked


class Failing(Telling, TableModel):
    """Fails in a guess, or everywhere."""

    everywhere = False
    error: BaseException

    def sample(self, *args: Any) -> Any:
        if self.everywhere or threading.current_thread().name == "gsi-guess":
            self.guessed.append(args[2])
            raise self.error
        return super().sample(*args)


@pytest.mark.parametrize("error", [BackendError("no luck"), SystemExit(1), ValueError("of the model's own")])
def test_a_guess_that_fails_is_asked_anew(error: BaseException) -> None:
    still = solve("p", Models(**parts()), config())
    own = {**parts(), "draft": Failing(steps_then_answer(0.4, 5), name="draft")}
    own["draft"].error = error
    found = solve("p", Models(**own), config(lookahead=2))
    assert found.steps == still.steps and own["draft"].guessed
    assert found.usage["draft"].calls == len(own["draft"].asked)
    own["draft"].everywhere = True
    with pytest.raises(type(error), match=str(error)):
        solve("p", Models(**own), config(lookahead=2))
    assert settled() and not _queues.guesses


def test_a_certain_fallback_begins_beside_the_scoring() -> None:
    """The base drafts what will be asked of it, while it still scores; and nothing is drawn behind refused drafts."""
    own = parts()
    together: list[bool] = []

    class Scoring(type(own["base"])):  # type: ignore[misc]
        def score(self, *args: Any) -> Any:
            until = time.monotonic() + 10
            while len(self.guessed) + len(self.asked) <= len(together) and time.monotonic() < until:
                time.sleep(0.0005)
            together.append(len(self.guessed) > len(together))
            return super().score(*args)

    own["base"] = Scoring(steps_then_answer(0.8, 5), name="base")
    settings = config(lookahead=2, threshold=50.0, max_steps=4)
    out = compile_gsi(**own, config=settings).invoke({"problem": "p"})
    assert [step["source"] for step in out["steps"]] == ["base"] * 4
    assert together == [True] * 4 and not own["base"].asked
    assert out["usage"]["base"]["discarded_tokens"] == 0


def test_a_thousand_abandoned_runs_leave_no_work() -> None:
    """Streams that are left in the middle: no threads, no entries in a queue, no guesses, and no memory."""
    draft = Slowly(steps_then_answer(0.4, 5), name="draft")
    own = {**parts(), "draft": draft, "reward": TableReward(patient_not, name="r")}
    graph = compile_gsi(**own, config=config(lookahead=2))

    def abandon(runs: int) -> tuple[int, int]:
        for i in range(runs):
            chunks: Any = graph.stream({"problem": f"p{i}"}, stream_mode="updates")
            for _ in itertools.islice(chunks, 2 + i % 4):
                pass
            chunks.close()
        assert settled() and not _queues.guesses and not _queues.asked
        gc.collect()
        things = gc.get_objects()
        return sum(type(thing) in (Guess, Guesses) for thing in things), len(things)

    before = abandon(50)
    after = abandon(950)
    assert after[0] == before[0] and after[1] - before[1] < 500
    assert draft.drawn > 500


class Slowly(TableModel):
    """Guesses take a little longer than a stream takes to be left; counts them, keeps nothing."""

    drawn = 0

    def sample(self, *args: Any) -> Any:
        if threading.current_thread().name == "gsi-guess":
            self.drawn += 1
            time.sleep(0.002)
        return super().sample(*args)


def patient_not(prefix: Prefix, step: Step) -> float:
    return 0.9


def test_an_interrupt_and_an_error_end_guesses() -> None:
    model = Named()
    model.gate.clear()
    with pytest.raises(KeyboardInterrupt), guessing(1):
        guesses = current_guesses()
        assert guesses is not None
        guesses.hold([stage(call(model))])
        raise KeyboardInterrupt
    assert len(guesses_alive()) == 1 and current_guesses() is None
    model.gate.set()
    assert settled() and model.cancelled
    assert guesses is not None
    guesses.hold([stage(call(model, n=5))])  # by what went on after its run
    assert settled() and model.asked == 1


def test_a_model_that_is_a_run_itself_has_guesses_of_its_own() -> None:
    """A draft that draws through stages takes up nothing of the run around it."""

    class Nested(TableModel):
        def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
            inner = Call("draft", super(), "sample", (prefix, n, key, law))
            found: list[Step] = inner.now() if current_guesses() is None else super().sample(prefix, n, key, law)
            return found

    still = solve("p", Models(**parts()), config())
    own = {**parts(), "draft": Nested(steps_then_answer(0.4, 5), name="draft")}
    assert solve("p", Models(**own), config(lookahead=2)).steps == still.steps


def test_every_call_of_a_guess_is_taken_up() -> None:
    """A method may draw by several calls, as of several drafts: all are guessed, in their order."""
    first, second = Named("one"), Named("two")
    guesses = Guesses(1)
    guesses.hold([stage(call(first), call(second))])
    for model in (first, second):
        found = guesses.taken(call(model))
        assert found is not None and found.result(10)
    assert settled() and guesses.spent() == {}


def test_settings() -> None:
    with pytest.raises(ValueError, match="lookahead"):
        GSIConfig(lookahead=-1)
    assert GSIConfig().lookahead == 0
