"""Against a real vLLM on CPU: the contract, GSI's likelihoods, the served reward model, a draft killed in the middle.

`make test-vllm` runs this; it is no part of `make test`, for its environment takes 3.4 GB.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, cast

import pytest

from gsi_node.errors import BackendUnavailable
from gsi_node.graph.build import compile_gsi
from gsi_node.models.servers.model import ServerModel
from gsi_node.rewards.prm.served import ServedReward
from gsi_node.specs.load import load_model, load_reward
from gsi_node.step.config import GSIConfig
from gsi_node.testing.models import CHECKS, Subject
from gsi_node.types import Prefix, SamplingLaw, Step
from tests.vllm.servers import VLLMServer

pytestmark = pytest.mark.slow
Fleet = dict[str, VLLMServer]
Report = Callable[[str], None]
PROBLEMS = ("What is 12 * (7 + 5)?", "Solve for x: 3x + 7 = 25.", "What is 37 + 48?")
TOLERANCE = 1e-3  # nats a step; two float32 engines agree to about 1e-5
SOLVE = GSIConfig(n=4, max_steps=10, max_step_tokens=48, record="candidates")


def spec(server: VLLMServer) -> str:
    return f"server:{server.url}/v1#{server.name}?tokenizer={server.folder}&attempts=4"


@pytest.fixture(scope="module")
def models(fleet: Fleet) -> Iterator[dict[str, Any]]:
    with ExitStack() as stack:
        found: dict[str, Any] = {role: load_model(spec(fleet[role])) for role in ("draft", "base")}
        found["reward"] = load_reward(spec(fleet["reward"]))
        for part in found.values():
            stack.callback(part.close)
        yield found


@pytest.fixture(scope="module")
def unsure(fleet: Fleet) -> Iterator[dict[str, Any]]:
    """The draft and the base without their chat marks: asked properly they are too sure for draws to differ."""
    with ExitStack() as stack:
        found = {role: load_model(f"{spec(fleet[role])}&template={{problem}}") for role in ("draft", "base")}
        for model in found.values():
            stack.callback(cast(ServerModel, model).close)
        yield found


@pytest.fixture(scope="module")
def solved(models: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Each problem, solved by GSI over the three servers, with every candidate."""
    graph = compile_gsi(**models, config=SOLVE)
    return [(problem, dict(graph.invoke({"problem": problem}))) for problem in PROBLEMS]


def batches(solved: list[tuple[str, dict[str, Any]]]) -> Iterator[tuple[Prefix, dict[str, Any]]]:
    """Every batch of drafts with its prefix."""
    for problem, result in solved:
        prefix = Prefix(problem)
        for record in result["steps"]:
            yield prefix, record.get("rejected") or record
            prefix = prefix.extended(Step(record["text"], tuple(record["token_ids"]), 0.0, False))


def candidates(batch: dict[str, Any]) -> list[Step]:
    return [Step(c["text"], tuple(c["token_ids"]), 0.0, c["token_ids"][-1] == 3) for c in batch["candidates"]]


@pytest.mark.parametrize("role", ["draft", "base"])
def test_the_probe(role: str, models: dict[str, Any], report: Report) -> None:
    model = cast(ServerModel, models[role])
    assert model.reported == "raw" and model.unscored is None
    assert "seeds are honoured" in model.findings and "its tokenizer encodes as the files given" in model.findings
    for finding in model.findings:
        report(f"probe of {role}: {finding}")


def test_given_steps_are_scored_by_ids_where_it_can(models: dict[str, Any]) -> None:
    """The endpoint is there and reads these requests, but its numbers take the V2 model runner, which takes Triton."""
    model = cast(ServerModel, models["base"])
    needs = "status 400: prompt_logprob_token_ids requires the V2 model runner"
    assert model.reads_likely or needs in model.findings[-1]
    assert "it has no such endpoint" in cast(ServerModel, models["draft"]).findings[-1]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("role", ["draft", "base"])
def test_contract(role: str, temperature: float, check: Callable[[Subject], None], unsure: dict[str, Any]) -> None:
    law = SamplingLaw(temperature=temperature, max_step_tokens=24)
    check(Subject(lambda: unsure[role], 1e-4, law, eos=3))


def test_gsi_over_servers_has_the_likelihoods_of_the_models_in_process(
    solved: list[tuple[str, dict[str, Any]]], report: Report
) -> None:
    """|log π served − log π in process| ≤ certified bound + rounding, of every candidate, under the sampling law."""
    law = SOLVE.law()
    gaps: dict[str, list[float]] = {"draft": [], "base": []}
    bounds: list[float] = []
    with load_model("pocket:draft") as draft, load_model("pocket:base") as base:  # type: ignore[attr-defined]
        for prefix, batch in batches(solved):
            steps = candidates(batch)
            for role, model in (("draft", draft), ("base", base)):
                for candidate, score in zip(batch["candidates"], model.score(prefix, steps, law), strict=True):
                    bounds.append(candidate["log_ratio_error"])
                    gap = abs(candidate[f"log_prob_{role}"] - score.log_prob)
                    assert gap <= candidate["log_ratio_error"] + TOLERANCE, (role, candidate)
                    gaps[role].append(gap)
    assert min(map(len, gaps.values())) >= 3 * SOLVE.n
    answers = [result["answer"] for _, result in solved]
    rates = [result["acceptance_rate"] for _, result in solved]
    report(f"GSI over three servers: answers {answers}, acceptance rates {[round(rate, 2) for rate in rates]}")
    for role, values in gaps.items():
        report(f"{role}: {len(values)} candidates, largest |log π served − in process| {max(values):.1e} nats a step")
    report(f"largest certified bound on a log-ratio at T = {law.temperature}: {max(bounds):.1e} nats")


def test_the_served_reward_model_is_the_one_in_process(
    solved: list[tuple[str, dict[str, Any]]], models: dict[str, Any], report: Report
) -> None:
    """LlamaForTokenClassification as it is shipped, behind vLLM's pooling endpoint."""
    assert isinstance(models["reward"], ServedReward)
    shipped, gaps = load_reward("pocket"), []
    for prefix, batch in batches(solved):
        wanted = shipped(prefix, candidates(batch))
        gaps += [abs(c["reward"] - value) for c, value in zip(batch["candidates"], wanted, strict=True)]
    assert len(gaps) >= 3 * SOLVE.n and max(gaps) < 1e-4
    report(f"reward: {len(gaps)} candidates, largest |r served − in process| {max(gaps):.1e}")


def test_the_draft_server_is_killed_in_the_middle(fleet: Fleet, models: dict[str, Any], report: Report) -> None:
    """One run ends in a typed error in bounded time; one that may degrade is finished by the base. The last test."""
    config = SOLVE.model_copy(update={"threshold": -50.0, "n": 2})  # so that the draft decides as long as it lives
    allowed = config.model_copy(update={"allow_degraded": True})
    strict, lenient = (compile_gsi(**models, config=settings) for settings in (config, allowed))
    problem = {"problem": "What is 12 * (7 + 5) + 37 * 3?"}
    runs: list[Any] = [graph.stream(problem, stream_mode=["custom", "values"]) for graph in (strict, lenient)]
    for run in runs:
        next(event for mode, event in run if mode == "custom" and "gsi_step" in event)
    fleet["draft"].kill()
    started = time.monotonic()
    with pytest.raises(BackendUnavailable, match="the connection failed") as raised:
        list(runs[0])
    seconds = time.monotonic() - started
    assert fleet["draft"].url in str(raised.value) and seconds < 60.0
    report(f"draft killed: BackendUnavailable after {seconds:.1f} s: {raised.value}")
    *_, (_, result) = runs[1]
    marks = [bool(step.get("degraded")) for step in result["steps"]]
    assert marks[0] is False and marks[-1] is True and sorted(marks) == marks
    assert fleet["draft"].url in result["degraded"] and result["stop_reason"] in ("answer", "eos", "max_steps")
    report(
        f"draft killed, allow_degraded: {marks.count(False)} steps of the draft, then {marks.count(True)} of the base "
        f"alone; stopped by {result['stop_reason']}, answer {result['answer']}"
    )
