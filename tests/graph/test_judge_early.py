"""A run that judges early is the run that does not, but for seconds; and every candidate is judged once."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from gsi_node.errors import BackendUnavailable
from gsi_node.graph.build import compile_gsi
from gsi_node.hearing import at_hand, current_hear
from gsi_node.step.config import GSIConfig
from gsi_node.step.context import Models
from gsi_node.step.methods import METHODS
from gsi_node.step.solve import asolve, solve
from gsi_node.types import Key, Prefix, SamplingLaw, Step
from tests.graph.ahead import bare, settled
from tests.graph.early import EndingTable, Noting, parts, quiet, token_parts
from tests.graph.world import config, plain, steps_then_answer, thread
from tests.step.test_by_text import Far, told

CUTS: list[dict[str, Any]] = [
    {"record": "candidates"},
    {"n_fallback": 2, "threshold": 0.75, "delta": 0.8, "log_c": 3.0},
    {"max_tokens": 30, "max_step_tokens": 9},
]
JUDGED = {name for name, method in METHODS.items() if method.needs and not method.single}


def found_by(way: str, own: dict[str, Any], settings: GSIConfig) -> dict[str, Any]:
    """The run, as each way of running gives it; without what guesses discarded."""
    if way in ("solve", "asolve"):
        models = Models(**own)
        solution = solve("p", models, settings) if way == "solve" else asyncio.run(asolve("p", models, settings))
        return bare({**asdict(solution), "messages": []})
    graph = compile_gsi(**own, config=settings)
    out = graph.invoke({"problem": "p"}) if way == "sync" else asyncio.run(graph.ainvoke({"problem": "p"}))
    return bare({**out, "messages": []})


def asks(own: dict[str, Any]) -> list[list[tuple[bool, list[str]]]]:
    """What each judge was asked."""
    return [own["reward"].asked, own["base"].scored]


@pytest.mark.parametrize("fields", CUTS, ids=" ".join)
@pytest.mark.parametrize("method", METHODS)
def test_the_run_is_the_same(method: str, fields: dict[str, Any]) -> None:
    """In the graph and without it, awaited and not, with guesses and without: the same, records and usage too; and no
    judge is asked by the run of what it judged early."""
    settings: dict[str, Any] = {"method": method, "n": 5, "chunk_size": 2, "max_steps": 6, **fields}
    make = token_parts if METHODS[method].propose == "specdec" or "max_tokens" in fields else parts
    own = make()
    still = found_by("sync", own, config(**settings))
    judged = [sum(len(texts) for _, texts in asked) for asked in asks(own)]
    assert not any(early for asked in asks(own) for early, _ in asked)
    for way, k in (("sync", 0), ("asolve", 0), ("async", 2), ("solve", 2)):
        own = make()
        assert found_by(way, own, config(**settings, judge_early=True, lookahead=k)) == still, (way, k)
        assert quiet() and settled()
        for asked, before in zip(asks(own), judged, strict=True):
            assert sum(len(texts) for _, texts in asked) <= before
            if method in JUDGED and k == 0:
                assert any(early for early, _ in asked) == bool(before)
                if not METHODS[method].scans:
                    assert all(early or len(texts) == 1 for early, texts in asked), "a whole batch by the run"


def test_every_candidate_is_judged_once_as_it_ends() -> None:
    """Each of different text in a call of its own, in the order in which they ended; the first with the answer."""
    own = parts()
    out = compile_gsi(**own, config=config(n=6, judge_early=True, max_steps=3, record="candidates")).invoke(
        {"problem": "p"}
    )
    expected = []
    for record in out["steps"]:
        for batch in filter(None, (record.get("rejected"), record)):
            texts = [candidate["text"] for candidate in batch["candidates"]]
            expected += [(True, [text]) for text in dict.fromkeys([*texts[:0:-1], texts[0]])]
    assert own["reward"].asked == expected
    assert out["usage"]["reward"]["calls"] < len(expected), "as many as the run made"


def test_a_scan_judges_its_first_chunk_early() -> None:
    """Of a method that may stop: those that it judges for certain, and no others."""
    settings: dict[str, Any] = {"method": "expgsi", "n": 6, "chunk_size": 2, "max_steps": 4, "record": "candidates"}
    own, other = parts(), parts()
    still = compile_gsi(**own, config=config(**settings)).invoke({"problem": "p"})
    found = compile_gsi(**other, config=config(**settings, judge_early=True)).invoke({"problem": "p"})
    assert plain(found) == plain(still)
    early = [texts for is_early, texts in other["base"].scored if is_early]
    for step in still["steps"]:
        first = {candidate["text"] for candidate in (step.get("rejected") or step)["candidates"][:2]}
        mine, early = early[: len(first)], early[len(first) :]
        assert {text for texts in mine for text in texts} == first and all(len(texts) == 1 for texts in mine)
    assert not early
    late = [texts for is_early, texts in other["base"].scored if not is_early]
    assert late and late == [texts for _, texts in own["base"].scored if texts in late]


@pytest.mark.parametrize("method", ["gsi", "expgsi"])
def test_several_drafts(method: str) -> None:
    """Those of the first are judged while the second draws, and those of the last while the others score them."""
    found, noted = [], []
    for early in (False, True):
        drafts = [EndingTable(steps_then_answer(good, 5), name=f"draft {good}") for good in (0.4, 0.6)]
        own: dict[str, Any] = {**parts(), "draft": drafts}
        settings = config(method=method, n=6, chunk_size=4, threshold=0.9, judge_early=early, record="candidates")
        found.append(plain(compile_gsi(**own, config=settings).invoke({"problem": "p"})))
        noted.append(own)
        assert quiet()
    assert found[0] == found[1]
    for asked in asks(noted[1]):
        assert asked and all(early for early, _ in asked[:2])
    assert len(noted[1]["reward"].asked) > len(noted[0]["reward"].asked)


def test_models_of_different_vocabularies() -> None:
    """A reward is handed the steps that the run would hand it: their ids are said to be the draft's."""

    class Telling(Far):
        def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
            steps = super().sample(prefix, n, key, law)
            if (hear := current_hear()) is not None:
                hear({1: at_hand(steps)[1]})
                assert quiet()
            return steps

    def knows(prefix: Prefix, step: Step) -> float:
        assert step.vocabulary in (draft.vocabulary, base.vocabulary)
        return 0.9 if "b" in step.text else 0.2

    found = []
    for early in (False, True):
        draft, base, reward = Telling(told(0.3)), EndingTable(told(0.7)), Noting(knows, name="b")
        settings = GSIConfig(method="rsd-n", n=3, beta=2.0, delta=0.5, max_steps=8, seed=31, judge_early=early)
        found.append(
            plain(compile_gsi(draft=draft, base=base, reward=reward, config=settings).invoke({"problem": "p"}))
        )
        assert {is_early for is_early, _ in reward.asked} == {early}
    assert found[0] == found[1] and {step["source"] for step in found[0]["steps"]} == {"draft", "base"}


class Lost(EndingTable):
    """Ends in the middle of its second step, when some candidates have ended."""

    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        steps = super().sample(prefix, n, key, law)
        if prefix.steps:
            raise BackendUnavailable("the draft is gone")
        return steps


def test_a_draft_that_is_lost_in_the_middle() -> None:
    """The base goes on alone: of what was judged of the draft nothing is billed, recorded or waited for."""
    found = []
    for early in (False, True):
        own = {**parts(), "draft": Lost(steps_then_answer(0.4, 5), name="draft")}
        settings = config(method="rsd-n", delta=0.0, allow_degraded=True, judge_early=early)
        found.append(plain(compile_gsi(**own, config=settings).invoke({"problem": "p"})))
    assert found[0] == found[1] and found[0]["degraded"] and quiet()


@pytest.mark.parametrize("then, now", [(False, True), (True, False)])
def test_a_run_goes_on_under_the_other_setting(then: bool, now: bool) -> None:
    """Stopped before every node that judges, and resumed by a node that judges otherwise each time."""
    still = plain(compile_gsi(**parts(), config=config()).invoke({"problem": "p"}))
    saver, given, stops = InMemorySaver(), {"problem": "p"}, 0
    before = ["reward", "score_base", "fallback"]
    while True:
        settings = config(judge_early=(then, now)[stops % 2])
        graph = compile_gsi(**parts(), config=settings, checkpointer=saver, interrupt_before=before)
        out = graph.invoke(given, thread())
        assert quiet()
        if out.get("stop_reason"):
            break
        given, stops = None, stops + 1  # type: ignore[assignment]
    assert stops > len(still["steps"])
    assert plain({key: out[key] for key in still}) == still


def test_checkpoints_and_streams_are_the_same() -> None:
    """Every state that is saved and every chunk that is streamed, of all nodes; and no run remembers the setting."""
    found = []
    for early in (False, True):
        saver = InMemorySaver()
        graph = compile_gsi(**parts(), config=config(judge_early=early), checkpointer=saver)
        modes: Any = ["updates", "values", "custom"]
        chunks = list(graph.stream({"problem": "p"}, thread(), stream_mode=modes))
        states = [saved.checkpoint["channel_values"] for saved in saver.list(None)]
        told = [chunk[1] for chunk in chunks if chunk[0] == "custom"]
        found.append((told, *(sorted(map(repr, map(_without, all_))) for all_ in (chunks, states))))
    assert found[0] == found[1] and "judge_early" not in repr(found)


def _without(value: Any) -> Any:
    """Without what is drawn anew for every run, and seconds."""
    if isinstance(value, dict):
        return {k: _without(v) for k, v in value.items() if k not in ("seconds", "messages", "message_id")}
    if isinstance(value, list | tuple):
        return [_without(item) for item in value]
    return value


def test_in_company() -> None:
    """Twelve runs at a time over the same models."""
    problems = [{"problem": f"p{i}"} for i in range(12)]
    own = parts()
    own["draft"].waits = own["base"].waits = False
    still = [plain(out) for out in compile_gsi(**own, config=config()).batch(problems)]
    graph = compile_gsi(**own, config=config(judge_early=True))
    own["reward"].asked.clear()
    assert [plain(out) for out in graph.batch(problems, {"max_concurrency": 12})] == still
    assert [plain(out) for out in asyncio.run(graph.abatch(problems, {"max_concurrency": 12}))] == still
    assert quiet() and any(early for early, _ in own["reward"].asked)
