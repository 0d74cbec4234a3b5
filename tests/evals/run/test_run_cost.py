"""FLOPs: the formula on numbers worked out by hand, and its token counts against what the engine really runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from evals.data.problems import Problem
from evals.graders.gradable import load_gradable as load
from evals.run.cost import NOTHING, Size, Work, sizes_of
from evals.run.metering import METER, WorkByRole
from evals.run.plan import Plan, Task, Workplace
from evals.run.solve import Solver
from gsi_node.engine.runner import Runner
from gsi_node.rewards.prm.families import FAMILIES
from gsi_node.rewards.verifier.reward import VerifierReward
from gsi_node.specs.load import load_model, load_reward
from gsi_node.tables.models import TableModel
from gsi_node.tables.rewards import TableReward
from gsi_node.tools.timing import covered
from gsi_node.types import Prefix, Step
from tests.graph.world import models, reward_of
from tests.miniature import build_miniature
from tests.rewards.family_models import build_family

SPECS = {"draft": "pocket:draft", "base": "pocket:base", "reward": "pocket"}


def test_the_formula_by_hand() -> None:
    """A prompt of 3 tokens, two candidates of 2 and 1, then one of 2 after the first of them."""
    work = Work()
    work.add(3, (), [(7, 8), (9,)], judged=False)
    assert (work.fed, work.read, work.contexts) == (2 + 2 + 1, 3, (1 + 2) + (3 + 4) + 3)
    work.add(3, ((7, 8),), [(5, 6)], judged=False)  # that step is held: nothing is fed but the candidate
    assert (work.fed, work.read, work.contexts) == (5 + 2, 5, 13 + (5 + 6))
    work.add(3, ((1, 2),), [(5,)], judged=False)  # another model's step: its tokens but the last, and x_P before them
    assert (work.fed, work.read, work.contexts) == (7 + 2 + 1, 6, 24 + (3 + 4) + 5)
    tree = Work()  # 7 is fed once for two candidates, the prefix's last token for all three
    tree.draw(3, (), [(7, 9), (5, 6, 1), (7, 8)])
    assert (tree.fed, tree.read, tree.contexts) == (2 + 3 + 1, 4, (1 + 2) + (3 + 4 + 5) + 4)
    judged = Work()
    judged.add(3, (), [(7, 8)], judged=True)
    assert (judged.fed, judged.read, judged.contexts) == (2 + 3, 1, (1 + 2) + (3 + 4 + 5))
    size = Size(body=1000, head=50, layers=2, width=8)
    assert size.flops(work) == 2 * (1000 * 10 + 50 * 6) + 4 * 2 * 8 * 36


def test_parameters_leave_out_the_table_and_count_the_head(tmp_path: Path) -> None:
    build_miniature(tmp_path / "tiny", seed=1, hidden=16)
    model = load_model(f"hf:{tmp_path / 'tiny'}")
    network: Any = model.engine.model  # type: ignore[attr-defined]
    (size,) = sizes_of(model) or ()
    table, head = network.get_input_embeddings().weight, network.get_output_embeddings().weight
    total = sum(parameter.numel() for parameter in network.parameters())
    assert size.head == head.numel()
    assert size.body == total - table.numel() - (0 if head is table else head.numel())
    assert size.layers == network.config.num_hidden_layers
    assert sizes_of(load_reward("ensemble:verifier|verifier")) == (NOTHING, NOTHING)
    assert sizes_of(TableModel({"a": 1.0})) == sizes_of(VerifierReward()) == (NOTHING,)
    assert sizes_of(object()) is None


@pytest.mark.parametrize("family", FAMILIES)
def test_a_reward_with_a_head_of_its_own_counts_it(family: str, tmp_path: Path) -> None:
    reward = load_reward(f"prm:{build_family(tmp_path, family)}@{family}")
    network: Any = reward.engine.model  # type: ignore[attr-defined]
    (size,) = sizes_of(reward) or ()
    head = network.head if hasattr(network, "head") else network.score
    table = network.get_input_embeddings().weight
    assert size.head == sum(parameter.numel() for parameter in head.parameters()) > 0
    assert size.body == sum(parameter.numel() for parameter in network.parameters()) - size.head - table.numel()


@pytest.mark.parametrize(
    ("method", "n"), [("gsi-no-fallback", 1), ("gsi", 1), ("sbon-base", 1), ("gsi", 4), ("specdec", 1)]
)
def test_the_tokens_counted_are_those_the_engine_runs(method: str, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From empty caches, exactly with one candidate; with more the engine pads rows, and its work is the larger."""
    fed: dict[Any, list[int]] = {}
    feed = Runner.feed

    def counting(runner: Runner, batch: Any, ids: Any, *, last: bool) -> Any:
        count = fed.setdefault(runner, [0, 0])
        rows, width = ids.shape
        count[0] += rows * width
        count[1] += sum(past + i for past in (batch._seats.offsets + batch.end).tolist() for i in range(1, width + 1))
        return feed(runner, batch, ids, last=last)

    plan = Plan("pocket", tuple(load("pocket", size=2)), (method,), (n,), (0,), SPECS, {"temperature": 1.0}, "summary")
    solver = Solver(plan, Workplace())
    monkeypatch.setattr(Runner, "feed", counting)
    for place in range(2):
        fed.clear()
        solver._forget()
        meter: WorkByRole = {}
        token = METER.set(meter)
        try:
            solver._once(Task(place, method, n, 0))
        finally:
            METER.reset(token)
        for role in plan.roles:
            tokens, contexts = fed[attrgetter("engine.runner")(solver.parts[role])]
            work = meter[role]
            if method == "specdec":
                assert 0 < work.fed < tokens, role  # today's engine feeds a step's beginning again at each call
            elif n == 1 and method != "gsi":
                assert (work.fed, work.contexts) == (tokens, contexts), role
            else:  # a fallback's step may begin as a refused one did; padded and finished rows ride along
                assert 0.6 < work.fed / tokens < 1.15, role
    solver.close()


def test_time_covered_by_calls_counts_once() -> None:
    assert covered([]) == 0.0
    assert covered([(5.0, 6.0), (0.0, 2.0), (1.0, 1.5), (1.0, 3.0), (3.0, 4.0)]) == 5.0


def test_models_that_work_at_the_same_time_are_counted_once_in_the_rows_seconds() -> None:
    """Base and reward take 40 ms a call and work at once: their own seconds add up to more than what they cover."""
    parts = models(length=3)
    parts["base"].delay = 0.04

    class Slow(TableReward):
        def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
            time.sleep(0.04)
            return super().__call__(prefix, steps)

    parts["reward"] = Slow(reward_of, name="reward")
    problem = Problem("p", "?", "7", "math")
    fields = {"beta": 4.0, "threshold": 0.0}  # every draft is accepted: each step is one score beside one reward
    plan = Plan("made", (problem,), ("gsi",), (2,), (0,), dict.fromkeys(parts, "-"), fields, "summary")
    solver = Solver(plan, Workplace(), lambda role, spec: parts[role])
    task = Task(0, "gsi", 2, 0)
    row = solver.finished(task, solver.submit(task))
    solver.close()
    assert row.error is None
    own = [row.usage[role].seconds for role in ("draft", "base", "reward")]
    steps = len(row.steps)
    assert steps == 4
    assert row.models_seconds is not None
    assert max(own) <= row.models_seconds + 0.02
    assert sum(own) - row.models_seconds > 0.5 * 0.04 * steps  # at least half of the shared time, however busy
    assert row.models_seconds < row.seconds
