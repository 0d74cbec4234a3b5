"""Given steps scored by ids (/inference/v1/generate): the numbers, and where they are used."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gsi_node.models.servers.by_ids import PATH
from gsi_node.testing.models import CHECKS, Subject
from gsi_node.types import SamplingLaw
from tests.models.campaign import LAW
from tests.models.ids_world import KEY, ONE, PREFIX, Start, by_ids, drawn, load, prompts
from tests.models.serving import MODEL, Bigram


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_contract(temperature: float, start_by_ids: Start) -> None:
    law = SamplingLaw(temperature=temperature, max_step_tokens=24)
    with load(start_by_ids(block=1 << 10)) as model:  # the checks score the same steps again and again
        for check in CHECKS:
            check(Subject(lambda: model, 1e-3 if temperature == 1.0 else 0.1, law, eos=3))
        assert model.reads_likely


def test_at_temperature_one_the_numbers_are_the_models_and_the_prefix_is_read_once(start_by_ids: Start) -> None:
    server = start_by_ids()
    steps = drawn(server, ONE)
    with load(server) as model:
        ids, asked = model.tokens.prefix_ids(PREFIX), prompts(server)
        before = len(by_ids(server))
        scores = model.score(PREFIX, steps, ONE)
        assert prompts(server) == asked and server.generating.kept > 0
        unique = len({step.token_ids for step in steps})
        bodies = by_ids(server)[before:]
        assert sum(not body["sampling_params"]["skip_reading_prefix_cache"] for body in bodies) == unique
    for step, score in zip(steps, scores, strict=True):
        assert score.log_prob == pytest.approx(server.model.exact(ids, step.token_ids, 1.0), abs=1e-5)
        assert score.error == 0.0


def test_every_parameter_is_set(start_by_ids: Start) -> None:
    server = start_by_ids()
    steps = drawn(server, ONE, 1)
    with load(server) as model:
        model.score(PREFIX, steps, ONE)
        ids = list(model.tokens.prefix_ids(PREFIX))
    body = by_ids(server)[-1]
    assert body["token_ids"] == [*ids, *steps[0].token_ids] and body["stream"] is False and body["model"] == MODEL
    asked = body["sampling_params"]
    assert asked["prompt_logprob_start"] == len(ids) - 1
    assert asked["prompt_logprob_token_ids"] == [[i] for i in steps[0].token_ids]
    assert (asked["n"], asked["max_tokens"], asked["temperature"], asked["detokenize"]) == (1, 1, 1.0, False)
    assert (asked["top_k"], asked["top_p"], asked["repetition_penalty"], asked["stop"]) == (-1, 1.0, 1.0, None)


@pytest.mark.parametrize("temperature", [0.3, 0.7])
def test_below_it_the_drafts_likely_ids_bound_the_number(
    temperature: float, start_by_ids: Start, ids_bigrams: list[Bigram]
) -> None:
    law = replace(LAW, temperature=temperature)
    steps = drawn(start_by_ids(ids_bigrams[1], on=False), law)
    server = start_by_ids()
    with load(server) as model:
        asked = prompts(server)
        scores = model.score(PREFIX, steps, law)
        assert prompts(server) == asked
        lists = by_ids(server)[-1]["sampling_params"]["prompt_logprob_token_ids"]
        assert max(map(len, lists)) == 20  # as many as may be asked for
        ids = model.tokens.prefix_ids(PREFIX)
        for step, score in zip(steps, scores, strict=True):
            assert abs(score.log_prob - server.model.exact(ids, step.token_ids, temperature)) <= score.error + 1e-5
            assert 0.0 < score.error < 0.1
        bare = [replace(step, likely=()) for step in steps]
        model.score(PREFIX, bare, law)
        assert prompts(server) == asked + 1  # nobody knows what to ask for
        poor = [replace(step, likely=tuple(ids[-1:] for ids in step.likely)) for step in steps]
        exact = model.score(PREFIX, bare, law)
        assert model.score(PREFIX, poor, law) == exact  # too loose a bound


@pytest.mark.parametrize(
    ("about", "told"),
    [
        ({"on": False}, "no such endpoint"),
        ({"on": False, "status": 403}, "no such endpoint"),
        ({"on": False, "status": 400}, "status 400"),
        ({"on": False, "status": 500}, "status 500"),
        ({"most": 5}, "greater than max allowed: 5"),
        ({"wrong": lambda values: np.roll(values, 1, axis=0)}, "gives other numbers"),
        ({"wrong": lambda values: np.roll(values, 1, axis=1)}, "gives other numbers"),
        ({"wrong": lambda values: values - 0.2}, "gives other numbers"),
        ({"wrong": lambda values: values + 9.0}, "as a log-probability"),
        ({"wrong": lambda values: values[:, :1]}, "of shape"),
        ({"wrong": lambda values: values.astype(np.float64)}, "type float64"),
        ({"wrong": lambda values: np.asfortranarray(values)}, "of shape"),
        ({"wrong": lambda values: values.ravel()}, "of shape"),
        ({"wrong": lambda values: None}, "no numbers even without its prefix cache"),
        ({"wrong": lambda values: "AAAA"}, "another shape than expected"),
    ],
)
def test_it_is_used_only_where_its_numbers_are_those_of_prompt_logprobs(
    about: dict[str, Any], told: str, start_by_ids: Start
) -> None:
    server = start_by_ids(**about)
    with load(server) as model:
        assert model.by_ids is None and not model.reads_likely
        assert told in model.findings[-1] and "prompt_logprobs" in model.findings[-1]
        asked = len(server.generating.bodies)
        model.score(PREFIX, model.sample(PREFIX, 2, KEY, ONE), ONE)
        assert len(server.generating.bodies) == asked


def test_another_model_behind_it_is_noticed(start_by_ids: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    server = start_by_ids()
    other = Bigram(len(server.model.log_p), (6, 7), seed=9)
    true = server.generating.answer
    monkeypatch.setattr(server.generating, "answer", lambda body, log_p: true(body, other.log_p))
    with load(server) as model:
        assert model.by_ids is None and "gives other numbers" in model.findings[-1]


def test_the_finding_and_the_fingerprint_say_which(start_by_ids: Start) -> None:
    with load(start_by_ids()) as one, load(start_by_ids(on=False)) as other:
        assert f"by ids ({PATH}), with the numbers of prompt_logprobs" in one.findings[-1]
        assert one.fingerprint != other.fingerprint
        assert one.fingerprint.split("+")[:-1] == other.fingerprint.split("+")[:-1]
