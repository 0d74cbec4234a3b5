"""What /metrics says is what was done."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from gsi_node.service.door import Door
from gsi_node.specs.load import load_model, load_reward
from gsi_node.tables.models import TableModel
from tests.graph.world import compiled, models, steps_then_answer
from tests.service.running import running
from tests.service.solvers import BODY, CHAT, Held, chat, solver, until


def scraped(url: str, **headers: str) -> dict[tuple[str, ...], float]:
    """Value by name and label values, the model's name left out, as Prometheus would read them."""
    answer = httpx.get(f"{url}/metrics", headers=headers, trust_env=False, timeout=60.0)
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            assert sample.labels["model"]
            labels = (f"{name}={value}" for name, value in sorted(sample.labels.items()) if name != "model")
            found[sample.name, *labels] = sample.value
    return found


def test_tokens_steps_and_acceptance_are_those_of_the_runs() -> None:
    graph, seeds = compiled(), range(3)
    outcomes = [graph.invoke({"problem": "p"}, context={"seed": seed}) for seed in seeds]
    with solver() as url:
        for seed in seeds:
            more: dict[str, Any] = {"stream": True} if seed == 1 else {}
            assert chat(url, seed=seed, **more).status_code == 200
        assert chat(url, n=2).status_code == 400
        assert httpx.get(f"{url}/nowhere/at/all", trust_env=False, timeout=60.0).status_code == 404
        found = scraped(url)
    for role in ("draft", "base", "reward"):
        for kind in ("generated", "scored"):
            wanted = sum(outcome["usage"][role][f"{kind}_tokens"] for outcome in outcomes)
            assert found["gsi_tokens_total", f"kind={kind}", f"role={role}"] == wanted
        calls = sum(outcome["usage"][role]["calls"] for outcome in outcomes)
        assert found["gsi_model_calls_total", f"role={role}"] == calls
        assert 0 < found["gsi_model_seconds_total", f"role={role}"] < 60
    steps = Counter((step["source"], step["accepted"]) for outcome in outcomes for step in outcome["steps"])
    assert len(steps) == 2
    for (source, accepted), count in steps.items():
        assert found["gsi_steps_total", f"accepted={str(accepted).lower()}", f"source={source}"] == count
    assert found["gsi_requests_total", f"route={CHAT}", "status=200"] == 3
    assert found["gsi_requests_total", f"route={CHAT}", "status=400"] == 1
    assert found["gsi_requests_total", "route=other", "status=404"] == 1
    assert found["gsi_request_seconds_count", f"route={CHAT}"] == 4
    assert (found["gsi_requests_under_way",], found["gsi_runs",]) == (0, 0)


def test_the_queue_and_whoever_leaves_it() -> None:
    """A run that nobody waits for any more costs what it did."""
    draft = Held(steps_then_answer(0.4, 5), name="draft")
    draft.free = 1
    with solver(parts={**models(), "draft": draft}, max_running=1, max_waiting=1) as url:
        seen = {}
        for _ in range(2):
            with suppress(httpx.TimeoutException):
                chat(url, stream=True, seconds=0.5)
        with (
            httpx.Client(trust_env=False, timeout=60.0) as going,
            going.stream("POST", f"{url}{CHAT}", json={**BODY, "stream": True}),
        ):
            until(lambda: draft.calls > draft.ended)
            seen = scraped(url)
        until(lambda: scraped(url)["gsi_requests_under_way",] == 0)
        found = scraped(url)
    assert (seen["gsi_requests_under_way",], seen["gsi_runs",]) == (1, 1)
    assert found["gsi_tokens_total", "kind=generated", "role=draft"] > 0
    assert found["gsi_runs",] == 0 and draft.calls == draft.ended


def test_a_models_service_counts_what_it_was_asked_for() -> None:
    """As the solver's meters would: a whole run over remote: costs there what its own bill says, of both models."""
    parts = models()
    with running(model=parts["base"]) as base, running(reward=parts["reward"]) as reward:
        far: dict[str, Any] = {"base": load_model(f"remote:{base}"), "reward": load_reward(f"remote:{reward}")}
        usage = compiled(parts={**parts, **far}).invoke({"problem": "p"})["usage"]
        found = {"base": scraped(base), "reward": scraped(reward)}
        for part in far.values():
            part.close()
    for role, served in (("base", "model"), ("reward", "reward")):
        bill, seen = usage[role], found[role]
        for kind in ("generated", "scored"):
            assert seen["gsi_tokens_total", f"kind={kind}", f"role={served}"] == bill[f"{kind}_tokens"]
        assert seen["gsi_model_calls_total", f"role={served}"] == bill["calls"]
        assert 0 < seen["gsi_model_seconds_total", f"role={served}"] < bill["seconds"]
        assert seen["gsi_requests_under_way",] == 0
    assert usage["base"]["generated_tokens"] > 0 < usage["reward"]["scored_tokens"]
    of_base = [found["base"]["gsi_model_steps_total", f"kind={kind}", "role=model"] for kind in ("scored", "generated")]
    rewarded = found["reward"]["gsi_model_steps_total", "kind=scored", "role=reward"]
    assert sum(of_base) == rewarded and min(of_base) > 0  # drafts, and the candidates of fallbacks
    assert found["base"]["gsi_request_seconds_count", "route=/score"] > 0


def test_a_model_service_counts_its_requests_and_the_key_is_wanted() -> None:
    with running(model=TableModel({"a\n\n": 1.0}), door=Door("sesame")) as url:
        sent = {"Authorization": "Bearer sesame"}
        assert (
            httpx.post(f"{url}/encode", json={"text": "a"}, headers=sent, trust_env=False, timeout=60.0).status_code
            == 200
        )
        assert httpx.get(f"{url}/metrics", trust_env=False, timeout=60.0).status_code == 401
        found = scraped(url, **sent)
    assert found["gsi_requests_total", "route=/encode", "status=200"] == 1
    assert found["gsi_requests_total", "route=/metrics", "status=401"] == 1
