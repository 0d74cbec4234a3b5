"""Guesses of calls that do not wait for one another, as of several drafts."""

from __future__ import annotations

from gsi_node.errors import BackendError
from gsi_node.step.guess import _queues
from gsi_node.step.guesses import Guesses, current_guesses, guessing
from gsi_node.types import Key, Prefix, SamplingLaw, Step
from tests.graph.ahead import settled
from tests.step.test_guesses import Named, call, stage


def test_calls_that_do_not_wait_for_one_another_are_expected_at_once() -> None:
    """So that a run may ask for all of them while the first is under way; they are drawn one after another."""
    first, second, third = Named("one"), Named("two"), Named("three")
    first.gate.clear()
    guesses = Guesses(1)
    guesses.hold([stage((call(first), call(second)), call(third))])
    found = [guesses.taken(call(model)) for model in (first, second)]
    assert None not in found and second.asked == 0
    first.gate.set()
    assert all(one is not None and one.result(10) for one in found)
    last = guesses.taken(call(third))
    assert last is not None and last.result(10)
    assert settled() and guesses.spent() == {}


class Broken(Named):
    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        raise BackendError("broken")


def test_one_that_fails_leaves_the_others_to_the_run() -> None:
    first, second, third = Named("one"), Broken("two"), Named("three")
    with guessing(2):
        guesses = current_guesses()
        assert guesses is not None
        guesses.hold([stage((call(first), call(second), call(third)))])
        assert settled() and (first.asked, third.asked) == (1, 0)
        assert call(first).now() and call(third).now() and (first.asked, third.asked) == (1, 1)
    assert not _queues.guesses and not _queues.asked, "no model is thought to be busy"
