"""Scoring by ids in a run: what the cache cannot answer, wrong answers, replicas, checkpoints, when it is dropped."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from langgraph.checkpoint.memory import InMemorySaver

from gsi_node.errors import BackendError, BackendUnavailable, ConfigError, GSIError, InvalidLogProb, SpecError
from gsi_node.graph.build import compile_gsi
from gsi_node.models.servers.by_ids import DROPPED_AFTER, PATH
from gsi_node.step.config import GSIConfig
from gsi_node.tables.rewards import TableReward
from tests.models.campaign import LAW
from tests.models.ids_world import KEY, ONE, PREFIX, Start, by_ids, drawn, load, prompts
from tests.models.serving import Bigram, Faults


def test_what_the_cache_kept_it_from_answering_is_asked_again_without(start_by_ids: Start) -> None:
    server = start_by_ids()
    steps = drawn(server, ONE)
    with load(server) as model:
        wanted = model.score(PREFIX, steps, ONE)
        before = len(by_ids(server))
        assert model.score(PREFIX, steps, ONE) == wanted  # all of them are cached now
        skipped = [body["sampling_params"]["skip_reading_prefix_cache"] for body in by_ids(server)[before:]]
        assert any(skipped) and model.reads_likely


def test_after_several_empty_batches_it_is_dropped(start_by_ids: Start, caplog: pytest.LogCaptureFixture) -> None:
    server = start_by_ids()
    steps = drawn(server, ONE, 1)
    with load(server) as model, caplog.at_level(logging.WARNING, "gsi_node.server"):
        wanted = model.score(PREFIX, steps, ONE)
        server.generating.cached.clear()
        for place in range(1, 2 * DROPPED_AFTER):
            server.generating.cached.clear()
            server.generating.empty = 0 if place == DROPPED_AFTER else 1
            assert model.score(PREFIX, steps, ONE) == wanted
            assert model.reads_likely and not caplog.records  # one that has an answer begins anew
        server.generating.cached.clear()
        server.generating.empty = 1
        assert model.score(PREFIX, steps, ONE) == wanted and not model.reads_likely
        assert "6 times in a row" in caplog.text and "scored by prompt_logprobs from here on" in caplog.text
        asked, before = prompts(server), len(server.generating.bodies)
        assert model.score(PREFIX, steps, ONE)[0].log_prob == pytest.approx(wanted[0].log_prob, abs=1e-5)
        assert prompts(server) == asked + 1 and len(server.generating.bodies) == before


def test_one_that_has_no_numbers_any_more_is_dropped_at_once(start_by_ids: Start) -> None:
    server = start_by_ids()
    steps = drawn(server, ONE)
    with load(server) as model:
        wanted = model.score(PREFIX, steps, ONE)
        server.generating.empty = 1 << 20
        scores = model.score(PREFIX, steps, ONE)
        assert [s.log_prob for s in scores] == pytest.approx([s.log_prob for s in wanted], abs=1e-5)
        assert not model.reads_likely


@pytest.mark.parametrize(
    ("wrong", "kind", "told"),
    [
        (lambda values: values * np.float32("nan"), InvalidLogProb, "nan as a log-probability"),
        (lambda values: values * 0.0 + 0.5, InvalidLogProb, "0.5 as a log-probability"),
        (lambda values: values[:-1], BackendError, "of shape"),
        (lambda values: "AAAA", BackendError, "another shape than expected"),
        (lambda values: values * 0.0, InvalidLogProb, "probabilities sum to"),
    ],
)
def test_wrong_answers_in_a_run_are_typed_errors(
    wrong: Any, kind: type[GSIError], told: str, start_by_ids: Start, ids_bigrams: list[Bigram]
) -> None:
    server = start_by_ids()
    with load(start_by_ids(ids_bigrams[1], on=False)) as draft, load(server, options="attempts=2&timeout=5") as model:
        steps = draft.sample(PREFIX, 4, KEY, LAW)
        assert max(len(step.token_ids) for step in steps) > 1
        model.score(PREFIX, steps, LAW)
        server.generating.cached.clear()
        server.generating.wrong = wrong
        with pytest.raises(kind, match=told) as raised:
            model.score(PREFIX, steps, LAW)
        assert type(raised.value) is kind and server.url in str(raised.value)


def test_answers_that_contradict_the_request(start_by_ids: Start) -> None:
    server = start_by_ids()
    steps = drawn(server, ONE, 2)
    with load(server) as model:
        model.transport.check = None  # which would drop it, where a connection is new
        server.edit = lambda path, answer: {**answer, "prompt_token_ids": [1]} if path == PATH else answer
        with pytest.raises(BackendError, match="it contradicts itself: prompt_token_ids has 1 ids"):
            model.score(PREFIX, steps, ONE)
        server.edit = lambda path, answer: {**answer, "model": "another"} if path == PATH else answer
        with pytest.raises(SpecError, match="model 'another' answered for 'bigram'"):
            model.score(PREFIX, steps, ONE)


def test_it_does_not_fit(start_by_ids: Start) -> None:
    server = start_by_ids()
    steps = drawn(server, ONE, 2)
    with load(server) as model:
        server.faults = Faults(plan=["context"] * 9)
        with pytest.raises(ConfigError, match="does not fit"):
            model.score(PREFIX, steps, ONE)


def test_every_replica_must_have_it(start_by_ids: Start, caplog: pytest.LogCaptureFixture) -> None:
    both = start_by_ids(), start_by_ids()
    with load(*both) as model:
        assert model.reads_likely
        model.score(PREFIX, model.sample(PREFIX, 6, KEY, ONE), ONE)
    with load(start_by_ids(), start_by_ids(on=False)) as model:
        assert model.by_ids is None
    with load(*both, options="attempts=6&timeout=5") as model, caplog.at_level(logging.WARNING, "gsi_node.server"):
        steps = model.sample(PREFIX, 6, KEY, ONE)
        wanted = model.score(PREFIX, steps, ONE)
        both[1].alive = False
        assert model.score(PREFIX, steps, ONE) == wanted
        both[1].alive, both[1].generating.on = True, False
        model.transport.replicas[1].resting = 0.0
        model.transport.replicas[0].outstanding += 9  # so that the other is asked
        found = model.score(PREFIX, steps, ONE)
        assert [s.log_prob for s in found] == pytest.approx([s.log_prob for s in wanted], abs=1e-5)
        assert not model.reads_likely and "it has no such endpoint" in caplog.text


def test_a_run_and_what_its_checkpoints_hold(start_by_ids: Start, ids_bigrams: list[Bigram]) -> None:
    """The same records as with prompt_logprobs within the bounds; the likely ids are kept where the base reads them."""
    config = GSIConfig(n=3, beta=4.0, threshold=0.2, max_steps=3, max_step_tokens=8, record="candidates")
    reward = TableReward(lambda prefix, step: 1.0 / (1 + len(step.token_ids)), name="short")
    found = []
    for on in (True, False):
        draft, base, saver = start_by_ids(ids_bigrams[1], on=False), start_by_ids(on=on), InMemorySaver()
        with load(draft) as small, load(base) as large:
            graph = compile_gsi(draft=small, base=large, reward=reward, config=config, checkpointer=saver)
            thread: Any = {"configurable": {"thread_id": "t"}}
            found.append(graph.invoke({"problem": "7"}, thread)["steps"])
            batches = [state.values.get("gsi_batch") or [] for state in graph.get_state_history(thread)]
            assert {"likely" in one for batch in batches for one in batch} == {on}
            assert (prompts(base, "7") == 0) == on
    for one, other in zip(*found, strict=True):
        batch, wanted = one.get("rejected") or one, other.get("rejected") or other
        for a, b in zip(batch["candidates"], wanted["candidates"], strict=True):
            assert a["token_ids"] == b["token_ids"] and "likely" not in a
            assert abs(a["log_prob_base"] - b["log_prob_base"]) <= a["log_ratio_error"] + b["log_ratio_error"]


def test_a_passing_fault_of_a_check_drops_nothing(start_by_ids: Start) -> None:
    server = start_by_ids()
    steps = drawn(server, ONE, 2)
    with load(server, options="attempts=5&timeout=5") as model:
        wanted = model.score(PREFIX, steps, ONE)
        model.transport.replicas[0].checked = None  # as after a failure: it is looked at first
        server.faults = Faults(plan=["500"])
        assert model.score(PREFIX, steps, ONE) == wanted and model.reads_likely
        assert server.faults.happened["500"] == 1


def test_it_is_gone_in_the_middle(start_by_ids: Start) -> None:
    server = start_by_ids()
    steps = drawn(server, ONE, 2)
    with load(server, options="attempts=2&timeout=5") as model:
        server.alive = False
        with pytest.raises(BackendUnavailable, match="by ids"):
            model.score(PREFIX, steps, ONE)
