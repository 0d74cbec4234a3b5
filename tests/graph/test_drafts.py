"""Several drafts in the node and the plain loop: what records and bills say, resumes, twins, refusals."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from gsi_node import GSIContext, Models, asolve, compile_gsi, solve
from gsi_node.errors import BackendUnavailable, ConfigError, LawMismatch, ResumeMismatch, VocabularyMismatch
from gsi_node.step.methods import METHODS
from gsi_node.tables.models import TableModel, TokenTable
from gsi_node.types import Key, Prefix, SamplingLaw, Score, Step
from tests.graph.world import Slow, compiled, config, models, plain, steps_then_answer, thread
from tests.step.test_solve import same

RATIO = [name for name, method in METHODS.items() if method.uses_ratio]


def parts(counts: tuple[int, int] = (2, 1)) -> dict[str, Any]:
    given = models()
    other = Slow(steps_then_answer(0.7, 5), name="other")
    return {**given, "draft": list(zip((given["draft"], other), counts, strict=True))}


@pytest.mark.parametrize("method", RATIO)
async def test_node_loop_and_twins_agree(method: str) -> None:
    own, settings = parts(), config(method=method, record="candidates")
    graph = compile_gsi(**own, config=settings)
    out = graph.invoke({"problem": "p"})
    assert plain(await graph.ainvoke({"problem": "p"})) == plain(out)
    same(solve("p", Models(**own), settings), out)
    same(await asolve("p", Models(**own), settings), out)


class Meeting(Slow):
    """A draft that writes only together with the other, and scores only so: awaited, or in a thread."""

    def __init__(self, meets: threading.Barrier, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.meets = meets

    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        self.meets.wait(10)
        return super().sample(prefix, n, key, law)

    def score(self, prefix: Prefix, steps: Any, law: SamplingLaw) -> list[Score]:
        self.meets.wait(10)
        return super().score(prefix, steps, law)


class AwaitedMeeting(Meeting):
    async def asample(self, *asked: Any) -> list[Step]:
        return await asyncio.to_thread(self.sample, *asked)

    async def ascore(self, *asked: Any) -> list[Score]:
        return await asyncio.to_thread(self.score, *asked)


@pytest.mark.parametrize("kind", [Meeting, AwaitedMeeting])
async def test_awaited_they_write_at_once_and_score_at_once(kind: type[Meeting]) -> None:
    """One after another, the first would wait for the second until its barrier breaks."""
    wanted, meets = compiled(parts=parts(), record="candidates").invoke({"problem": "p"}), threading.Barrier(2)
    drafts = [kind(meets, steps_then_answer(good, 5), name=name) for good, name in ((0.4, "draft"), (0.7, "other"))]
    own = {**models(), "draft": list(zip(drafts, (2, 1), strict=True))}
    found = await compiled(parts=own, record="candidates").ainvoke({"problem": "p"})
    assert plain(found) == plain(wanted)
    same(await asolve("p", Models(**own), config(record="candidates")), wanted)


async def test_each_is_billed_its_own_seconds() -> None:
    own = parts()
    own["draft"][0][0].delay = 0.05
    out = await compiled(parts=own, max_steps=1).ainvoke({"problem": "p"})
    slow, quick = (out["usage"][f"draft/{j}"]["seconds"] for j in (0, 1))
    assert slow >= 0.1 > quick  # it writes and scores once each


def test_records_say_who_wrote_and_bills_are_by_draft() -> None:
    out = plain(compiled(parts=parts(), record="candidates").invoke({"problem": "p"}))
    assert set(out["usage"]) == {"draft/0", "draft/1", "base", "reward"}
    written = [0, 0]
    for step in out["steps"]:
        batch = step.get("rejected") or step
        assert [one["draft"] for one in batch["candidates"]] == [0, 0, 1]
        chosen = next(one for one in batch["candidates"] if one["text"] == batch["text"])
        assert batch["draft"] in (0, 1) and batch["log_prob_draft"] == chosen["log_prob_draft"]
        assert ("draft" in step) == step["accepted"]
        for one in batch["candidates"]:
            written[one["draft"]] += len(one["token_ids"])
    bills = [out["usage"][f"draft/{j}"] for j in (0, 1)]
    assert [bill["generated_tokens"] for bill in bills] == written
    assert [bill["scored_tokens"] for bill in bills] == written[::-1]  # each scores what the other wrote
    assert [bill["calls"] for bill in bills] == [12, 12]


def test_the_labels_of_a_scan_are_drawn() -> None:
    out = compiled(parts=parts(), method="expgsi", record="candidates", n=4).invoke({"problem": "p"})
    labels = [[one["draft"] for one in (step.get("rejected") or step)["candidates"]] for step in out["steps"]]
    assert len({tuple(sorted(each)) for each in labels}) > 1


def test_one_in_a_list_is_the_draft_itself() -> None:
    own = models()
    alone = plain(compiled(parts={**own, "draft": [own["draft"]]}).invoke({"problem": "p"}))
    assert alone == plain(compiled(parts=own).invoke({"problem": "p"})) and "draft" in alone["usage"]


def test_it_goes_on_where_it_stopped_and_not_with_other_counts() -> None:
    whole = plain(compiled(parts=parts()).invoke({"problem": "p"}))
    saver = InMemorySaver()
    stopped = compile_gsi(**parts(), config=config(), checkpointer=saver, interrupt_before=["tilt_and_accept"])
    stopped.invoke({"problem": "p"}, thread())
    for other in (parts((1, 1)), {**parts(), "draft": parts()["draft"][::-1]}, models()):
        with pytest.raises(ResumeMismatch, match="models.draft"):
            compile_gsi(**other, config=config(), checkpointer=saver).invoke(None, thread())
    going_on = compile_gsi(**parts(), config=config(), checkpointer=saver)
    assert plain(going_on.invoke(None, thread())) == whole


class Lost(TableModel):
    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        raise BackendUnavailable("it is gone")


def test_one_that_is_lost_leaves_the_base_alone() -> None:
    own = parts()
    own["draft"] = [own["draft"][0][0], Lost(steps_then_answer(0.5, 5), name="lost")]
    with pytest.raises(BackendUnavailable, match="it is gone"):
        compiled(parts=own).invoke({"problem": "p"})
    graph = compiled(parts=own, allow_degraded=True)
    for out in (graph.invoke({"problem": "p"}), asyncio.run(graph.ainvoke({"problem": "p"}))):
        assert out["degraded"] == "it is gone" and {step["source"] for step in out["steps"]} == {"base"}
        assert out["usage"]["draft/0"]["calls"] == 1 and out["usage"]["draft/1"]["calls"] == 0


def test_what_is_refused_before_anything_is_asked() -> None:
    own = parts()
    first = own["draft"][0][0]
    with pytest.raises(ConfigError, match="n: want at least 2, one candidate a draft, got 1"):
        compiled(parts=own, n=1)
    with pytest.raises(ConfigError, match="draft: 0 and 1 are one model, draft; leave one out, or give each its count"):
        compiled(parts={**own, "draft": [first, first]})
    with pytest.raises(ConfigError, match="draft/1: want an object with the StepModel protocol"):
        compiled(parts={**own, "draft": [first, "pocket:draft"]})
    with pytest.raises(ConfigError, match="method specdec has no ratio"):
        compiled(parts=own, method="specdec")
    tokens = TokenTable(["a", "\n\n"], lambda prefix, ids: [0.5, 0.5])
    with pytest.raises(VocabularyMismatch):
        compiled(parts={**own, "draft": [first, tokens]})
    with pytest.raises(LawMismatch, match="whole steps, which no number of tokens ends"):
        compiled(parts=own, step_end="tokens:4")


def test_a_run_cannot_override_n_below_the_drafts() -> None:
    graph = compiled(parts=parts())
    with pytest.raises(ConfigError, match="n: want at least 2"):
        graph.invoke({"problem": "p"}, context=GSIContext(n=1))
    assert graph.invoke({"problem": "p"}, context=GSIContext(n=2))["steps"]
