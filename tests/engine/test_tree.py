"""Candidates whose tokens are equal so far are one row of the forward: the same tokens as with a row each."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from langgraph.checkpoint.memory import InMemorySaver
from torch import Tensor

from gsi_node.engine.batch import Batch
from gsi_node.engine.decode import Decoder
from gsi_node.engine.requests import Part, SampleRequest
from gsi_node.engine.row import SampledRow
from gsi_node.engine.runner import Runner
from gsi_node.engine.seats import Group
from gsi_node.graph.build import compile_gsi
from gsi_node.models.transformers import TransformersModel
from gsi_node.positions import apart, positions
from gsi_node.specs.load import load_model, load_reward
from gsi_node.step.config import GSIConfig
from gsi_node.step.methods import METHODS
from gsi_node.types import Ends, Ids, Key, Prefix, SamplingLaw
from tests.engine.company import same
from tests.miniature import Miniatures

LAWS = [
    SamplingLaw(temperature=0.04, max_step_tokens=30),
    SamplingLaw(temperature=0.06, max_step_tokens=12, ends=Ends(()), eos_ids=(3, 20, 30)),
    SamplingLaw(temperature=0.05, top_p=0.9, max_step_tokens=70, ends=Ends(()), eos_ids=(3,)),
]
"""So cold that candidates of a miniature stay together for a while."""
ENDLESS = SamplingLaw(temperature=0.05, max_step_tokens=25, ends=Ends(()), eos_ids=())


def one_by_one(self: SampleRequest) -> Iterator[Part[SampleRequest]]:
    """A part, and so a row of the forward, for each candidate."""
    return (Part(self, range(i, i + 1)) for i in range(self.n))


def asked(model: TransformersModel, number: int, n: int, law: SamplingLaw) -> SampleRequest:
    ids = model.prefix_ids(Prefix("12+3" * (number % 4) + str(number)))
    limit, ends = law.max_step_tokens, model.step_ends(law)
    return SampleRequest(ids, n, Key(number, "t", 0, "draft"), law, limit=limit, ends=ends, size=model.tokens.size)


def decoded(model: TransformersModel, requests: list[SampleRequest], joins: list[int]) -> list[Any]:
    """The rows of each, request i joining before tick joins[i]."""
    decoder, tick, runner = Decoder(model.engine.runner), 0, model.engine.runner
    with torch.inference_mode():
        while decoder.parts or tick <= max(joins):
            for request, at in zip(requests, joins, strict=True):
                if at == tick:
                    parts = list(request.parts())
                    decoder.join(parts, runner.contexts([request.ids[:-1]] * len(parts)))
            if decoder.parts:
                decoder.tick()
            tick += 1
    return [request.future.result(timeout=0) for request in requests]


def mixed(model: TransformersModel, seed: int) -> list[Any]:
    draw = random.Random(seed)
    requests = [asked(model, i + 7 * seed, draw.choice((1, 4, 9, 20)), draw.choice(LAWS)) for i in range(5)]
    return decoded(model, requests, [draw.randrange(12) for _ in requests])


@pytest.fixture(scope="module")
def model(miniatures: Miniatures) -> TransformersModel:
    return miniatures.language(dtype="float64", end_bias=1.0)


@pytest.fixture(scope="module")
def wanted(model: TransformersModel) -> Callable[[int], list[Any]]:
    """`mixed` with a row a candidate."""
    known: dict[int, list[Any]] = {}

    def find(seed: int) -> list[Any]:
        if seed not in known:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(SampleRequest, "parts", one_by_one)
                known[seed] = mixed(model, seed)
        return known[seed]

    return find


@pytest.mark.parametrize("seed", range(4))
def test_candidates_draw_what_they_draw_each_in_a_row_of_its_own(
    model: TransformersModel, wanted: Callable[[int], list[Any]], seed: int
) -> None:
    """Several laws, rows that join in the middle, split, end, leave, and take the slots of those that left."""
    truth = wanted(seed)
    assert same(mixed(model, seed), truth)
    shared = [positions(tuple(ids) for ids, _ in rows) / sum(len(ids) for ids, _ in rows) for rows in truth]
    assert min(shared) < 0.6  # else nothing was tried


def _nothing_copied(patch: pytest.MonkeyPatch) -> None:
    real = Batch.split

    def split(self: Batch, group: Group, row: int) -> int:
        new = real(self, group, row)
        self._suffix[:, :, self.groups.index(group), new] = 0
        return new

    patch.setattr(Batch, "split", split)


def _the_parents_token_kept(patch: pytest.MonkeyPatch) -> None:
    real = SampledRow.split

    def split(self: SampledRow, drawn: Any) -> list[SampledRow]:
        others = real(self, drawn)
        for other in others:
            other.ids[-1] = self.ids[-1]
        return others

    patch.setattr(SampledRow, "split", split)


def _one_uniform_for_all(patch: pytest.MonkeyPatch) -> None:
    from gsi_node.engine.sampling import Softmax

    real = Softmax.draw
    patch.setattr(Softmax, "draw", lambda self, rows, u: real(self, rows, u[torch.searchsorted(rows, rows)]))


def _the_neighbours_law(patch: pytest.MonkeyPatch) -> None:
    from gsi_node.engine.sampling import Softmax

    real = Softmax.draw
    patch.setattr(Softmax, "draw", lambda self, rows, u: real(self, (rows + 1) % len(self.sums), u))


@pytest.mark.parametrize(
    "plant",
    [_nothing_copied, _the_parents_token_kept, _one_uniform_for_all, _the_neighbours_law],
    ids=lambda plant: plant.__name__,
)
def test_a_planted_mistake_is_noticed(
    model: TransformersModel,
    wanted: Callable[[int], list[Any]],
    plant: Callable[[pytest.MonkeyPatch], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    truth = wanted(1)
    plant(monkeypatch)
    assert not same(mixed(model, 1), truth)


def fed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of every token step."""
    real, seen = Runner.feed, []

    def feed(self: Runner, batch: Batch, ids: Tensor, *, last: bool) -> Tensor:
        if last and ids.shape[1] == 1:
            seen.append(len(ids))
        return real(self, batch, ids, last=last)

    monkeypatch.setattr(Runner, "feed", feed)
    return seen


@pytest.mark.parametrize("n", [1, 5, 40])
def test_a_position_is_fed_once(model: TransformersModel, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    request = asked(model, n, n, ENDLESS)
    with torch.inference_mode():
        model.engine.runner.contexts([request.ids[:-1]])
    seen = fed(monkeypatch)
    [rows] = decoded(model, [request], [0])
    assert seen[0] == 1
    assert sum(seen) == positions(tuple(ids) for ids, _ in rows) <= n * 25
    assert n == 1 or sum(seen) < n * 25


def test_positions_are_the_distinct_beginnings() -> None:
    draw = random.Random(0)
    for _ in range(200):
        rows: list[Ids] = [
            tuple(draw.randrange(2) for _ in range(draw.randrange(1, 6))) for _ in range(draw.randrange(1, 8))
        ]
        assert positions(rows) == len({row[:j] for row in rows for j in range(len(row))})
        assert [row for row, _ in apart(rows)] == sorted(set(rows))


def test_rows_that_do_not_fit_together_are_drawn_in_halves(miniatures: Miniatures) -> None:
    """Foreseen: 40 candidates may become 40 rows. None is refused, and all are what they are together."""
    whole = miniatures.language(dtype="float64")
    law = replace(LAWS[1], temperature=0.5)
    wanted = [step.token_ids for step in whole.sample(Prefix("1+1"), 40, Key(0, "h", 0, "draft"), law)]
    tight = miniatures.language(dtype="float64", options={"batch_bytes": 40_000})
    most: list[int] = []
    real = Decoder.join

    def join(self: Decoder, parts: Any, contexts: Any) -> None:
        most.extend(len(part.which) for part in parts)
        real(self, parts, contexts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Decoder, "join", join)
        found = [step.token_ids for step in tight.sample(Prefix("1+1"), 40, Key(0, "h", 0, "draft"), law)]
    assert found == wanted
    assert most == [10] * 4
    assert tight.engine.runner.budget.bytes == 40_000


@pytest.fixture(scope="module")
def pocket() -> dict[str, Any]:
    return {
        "draft": load_model("pocket:draft?dtype=float64"),
        "base": load_model("pocket:base?dtype=float64"),
        "reward": load_reward("pocket?dtype=float64"),
    }


PROBLEMS = ("What is 12 * (7 + 5)?", "Solve for x: 3x + 7 = 25.")


def whole_runs(parts: dict[str, Any], method: str, how: str) -> list[Any]:
    """Records of runs; of the budgets one cuts a step, one the response."""
    fields: dict[str, Any] = {"method": method, "n": 5, "max_steps": 3, "max_step_tokens": 20, "max_tokens": 30}
    if "expgsi" in method:
        fields["log_ratio_clip"] = 2.0
    config = GSIConfig(**fields, record="candidates")
    asked: list[Any] = [{"problem": text, "problem_id": str(i)} for i, text in enumerate(PROBLEMS)]
    graph: Any = compile_gsi(**parts, config=config, checkpointer=InMemorySaver() if how == "resumed" else None)
    for part in parts.values():
        part.engine.cache.clear()
    if how == "company":
        outs = graph.batch(asked, config={"max_concurrency": 3})
    elif how == "async":

        async def all_of_them() -> list[Any]:
            return list(await asyncio.gather(*map(graph.ainvoke, asked)))

        outs = asyncio.run(all_of_them())
    else:
        outs = []
        for i, each in enumerate(asked):
            thread: Any = {"configurable": {"thread_id": str(i)}}
            out = graph.invoke(each, thread, interrupt_before=["draft"])
            while graph.get_state(thread).next:
                for part in parts.values():
                    part.engine.cache.clear()
                out = graph.invoke(None, thread, interrupt_before=["draft"])
            outs.append(out)
    keys = ("steps", "response", "stop_reason")
    return [{key: out[key] for key in keys} for out in outs]


def plain(value: Any) -> Any:
    """Dicts as lists, for `same`."""
    if isinstance(value, dict):
        return [[key, plain(item)] for key, item in sorted(value.items())]
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("method", sorted(name for name, method in METHODS.items() if method.propose != "specdec"))
def test_every_method_that_drafts_has_the_records_that_it_has_with_a_row_a_candidate(
    pocket: dict[str, Any], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sync and in company, async, and stopped before each draft and resumed with cold caches; budgets cut."""
    with monkeypatch.context() as patch:
        patch.setattr(SampleRequest, "parts", one_by_one)
        wanted = plain(whole_runs(pocket, method, "company"))
    for how in ("company", "async", "resumed"):
        assert same(plain(whole_runs(pocket, method, how)), wanted), how


def test_usage_tells_positions_beside_tokens(pocket: dict[str, Any]) -> None:
    config = GSIConfig(n=5, max_steps=3, max_step_tokens=20, record="candidates")
    out = compile_gsi(**pocket, config=config).invoke({"problem": PROBLEMS[0]})
    batches = [batch for step in out["steps"] for batch in (step, step.get("rejected")) if batch]
    for role in ("draft", "base"):
        rows = [[tuple(c["token_ids"]) for c in b["candidates"]] for b in batches if b["source"] == role]
        usage = out["usage"][role]
        assert usage["generated_tokens"] == sum(len(row) for some in rows for row in some)
        assert usage["generated_positions"] == sum(map(positions, rows))
    assert 0 < out["usage"]["draft"]["generated_positions"] < 0.8 * out["usage"]["draft"]["generated_tokens"]
