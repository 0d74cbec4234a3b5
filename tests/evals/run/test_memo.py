"""Rows made with --memo: the same, their usage and FLOPs too, with fewer calls of the models, and without seconds."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from evals.__main__ import main as evals
from evals.data.problems import Problem
from evals.report.arms import quiet
from evals.rows.lines import read_rows
from evals.rows.row import Row
from evals.run.memo import Memo
from evals.run.plan import MAJORITY, Plan, Workplace
from evals.run.solve import Solver
from gsi_node.errors import BackendError
from gsi_node.protocols import Question, ask
from gsi_node.specs.load import load_part
from gsi_node.step.calls import Call
from gsi_node.step.methods import METHODS
from gsi_node.types import Key, Prefix, SamplingLaw
from tests.evals.run.test_run import arguments, plain
from tests.evals.tables import command
from tests.graph.world import models
from tests.thinker import build_thinker

ALL = tuple(method for method in METHODS if not method.startswith("specdec"))  # tables are no token models
BETA = {"beta": 4.0, "threshold": 0.6, "step_end": "paragraph"}
FLOAT64 = {"draft": "pocket:draft?dtype=float64", "base": "pocket:base?dtype=float64", "reward": "verifier"}
Parts = Mapping[str, Any]


def plan(fields: Mapping[str, Any], specs: Mapping[str, str], *, methods: Sequence[str], **other: Any) -> Plan:
    problems = tuple(Problem(f"p{i}", f"{i}+1", "7", "exact") for i in range(other.get("limit", 2)))
    given = {"ns": (1, 4), "seeds": (0, 1), "problems": problems} | other
    return Plan(data="made", methods=tuple(methods), specs=specs, fields=fields, record="candidates", **given)


def table(role: str, spec: str) -> Any:
    return models()[role]


def made(one: Plan, load: Callable[[str, str], Any], **workplace: Any) -> list[Row]:
    """The plan's rows, as a worker makes them."""
    with Solver(one, Workplace(**workplace), load) as solver:
        futures = [(task, solver.submit(task)) for task in one.tasks()]
        return [solver.finished(task, future) for task, future in futures]


def told(rows: list[Row]) -> Any:
    """All of the rows but times, and that they were shared."""
    bills = {row.key: {role: bill.model_dump(exclude={"seconds"}) for role, bill in row.usage.items()} for row in rows}
    return {key: {**row, "shared": False} for key, row in plain(rows).items()}, bills


def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the models behind the meters are asked, by model and method, from now on."""
    calls: Counter[str] = Counter()

    def counting(backend: Any, method: Question, *args: Any) -> Any:
        calls[f"{backend.name}.{method}"] += 1
        return ask(backend, method, *args)

    for module in ("memo", "metering"):
        monkeypatch.setattr(f"evals.run.{module}.ask", counting)
    return calls


@pytest.mark.parametrize(("fields", "concurrency"), [({}, 1), ({"max_steps": 3, "threshold": 0.9}, 5)])
def test_rows_of_every_method_are_the_same(
    fields: Mapping[str, Any], concurrency: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = dict.fromkeys(("draft", "base", "reward"), "-")
    one = plan({**BETA, **fields}, specs, methods=(*ALL, *MAJORITY), share_samples=True, ns=(3,))
    calls = counted(monkeypatch)
    without, alone = made(one, table), dict(calls)
    calls.clear()
    within = made(one, table, memo=True, concurrency=concurrency)
    assert all(row.error is None for row in without)
    assert told(within) == told(without)
    assert [row.flops for row in within] == [row.flops for row in without]
    assert all(row.shared for row in within) and not any(row.shared for row in without)
    for asked, count in alone.items():
        assert calls[asked] < 0.7 * count, asked


def test_without_one_set_of_streams_nothing_is_shared_and_the_command_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(arguments(tmp_path, "--memo")) == 2
    assert "add --share-samples" in capsys.readouterr().err
    assert command(arguments(tmp_path, "--memo", "--share-samples", "--methods", "gsi,rsd-n", "--n", "2")) == 0
    rows = read_rows(tmp_path / "run")
    assert len(rows) == 6 and all(row.shared and not quiet(row) for row in rows)
    capsys.readouterr()
    assert evals(["report", str(tmp_path / "run"), "--no-plots"]) == 0
    out = capsys.readouterr().out
    assert "6 rows were made with --memo: their seconds are no timings" in out
    costs = out[out.index("| draft tokens") :].split("\n\n")[0]
    (line,) = [line for line in costs.splitlines() if line.startswith("| gsi")]
    assert [cell.strip() for cell in line.split("|")[-7:-1]] == ["–"] * 6
    assert evals(["pace", str(tmp_path / "run")]) == 2
    assert "rows whose seconds count: none" in capsys.readouterr().err


def test_rows_of_models_in_process_are_the_same() -> None:
    fields = {"max_tokens": 30, "max_step_tokens": 16, "step_end": "tokens:12"}
    methods = ("gsi", "gsi-ic", "expgsi", "rsd-n", "sbon-draft", "cgs", "sbon-base", "specdec-sbon", "specdec")
    one = plan(fields, FLOAT64, methods=methods, ns=(3,), seeds=(0,), share_samples=True, limit=1)
    parts = {role: load_part(role, spec) for role, spec in FLOAT64.items()}
    within, without = (made(one, lambda role, spec: parts[role], memo=memo) for memo in (True, False))
    assert all(row.error is None for row in without)
    for mine, other in zip(within, without, strict=True):
        assert mine.response == other.response and mine.stop_reason == other.stop_reason
        assert [(s.text, s.source, s.n_tokens) for s in mine.steps] == [
            (s.text, s.source, s.n_tokens) for s in other.steps
        ]
        for step, same in zip(mine.steps, other.steps, strict=True):
            assert step.log_ratio == pytest.approx(same.log_ratio, abs=1e-9)
        assert {r: b.model_dump(exclude={"seconds"}) for r, b in mine.usage.items()} == {
            r: b.model_dump(exclude={"seconds"}) for r, b in other.usage.items()
        }
        assert mine.flops == other.flops


def test_rows_of_models_that_think_are_the_same(tmp_path: Path) -> None:
    spec = f"hf:{build_thinker(tmp_path / 'model')}?dtype=float64"
    specs = {"draft": spec, "base": spec, "reward": "verifier?prior=0.7"}
    fields = {"max_thinking_tokens": 12, "max_tokens": 40}
    one = plan(fields, specs, methods=("gsi", "rsd-n", "sbon-draft", "draft"), ns=(2,), share_samples=True)
    parts = {role: load_part(role, spec) for role, spec in specs.items()}
    within, without = (made(one, lambda role, spec: parts[role], memo=memo) for memo in (True, False))
    assert any(step.thought for row in without for step in row.steps)
    assert any(step.source == "given" for row in without for step in row.steps)
    for mine, other in zip(within, without, strict=True):
        assert [(s.text, s.source, s.thought) for s in mine.steps] == [
            (s.text, s.source, s.thought) for s in other.steps
        ]
        assert (mine.response, mine.predicted, mine.stop_reason) == (other.response, other.predicted, other.stop_reason)


class Once:
    """A model whose first answer fails, while another waits for it."""

    name, fingerprint, vocabulary, eos_ids = "once", "once", "", ()

    def __init__(self) -> None:
        self.asked = 0
        self.begun, self.go = threading.Event(), threading.Event()

    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Any]:
        self.asked += 1
        if self.asked == 1:
            self.begun.set()
            assert self.go.wait(10)
            raise BackendError("broken")
        return []


def test_a_failure_is_not_kept_and_who_waits_for_it_asks_again() -> None:
    model, memo, found = Once(), Memo(), []
    call = Call("draft", model, "sample", (Prefix("p"), 1, Key(0, "p", 0, "draft"), SamplingLaw()))

    def first() -> None:
        with pytest.raises(BackendError, match="broken"):
            memo.answer(call)

    threads = [threading.Thread(target=first), threading.Thread(target=lambda: found.append(memo.answer(call)))]
    threads[0].start()
    assert model.begun.wait(10)
    threads[1].start()
    model.go.set()
    for thread in threads:
        thread.join(10)
    assert found == [[]] and model.asked == 2
    assert memo.answer(call) == [] and model.asked == 2


def test_answers_are_told_apart_by_all_that_is_asked() -> None:
    """Another key, n, law, prefix or model is another question."""
    parts, memo = models(), Memo()
    law, key = SamplingLaw(), Key(0, "p", 0, "draft")
    asked = [
        (parts["draft"], "p", 2, key, law),
        (parts["draft"], "p", 2, Key(1, "p", 0, "draft"), law),
        (parts["draft"], "p", 2, Key(0, "p", 0, "fallback"), law),
        (parts["draft"], "p", 2, key, SamplingLaw(temperature=1.0)),
        (parts["draft"], "p", 3, key, law),
        (parts["base"], "p", 2, key, law),
    ]
    for model, problem, n, one_key, one_law in asked:
        args = (Prefix(problem), n, one_key, one_law)
        assert memo.answer(Call("draft", model, "sample", args)) == model.sample(*args)


def test_only_the_last_problem_is_remembered() -> None:
    one = plan(BETA, dict.fromkeys(("draft", "base", "reward"), "-"), methods=("gsi", "rsd-n"), share_samples=True)
    with Solver(one, Workplace(memo=True), table) as solver:
        memos: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
        for task in one.tasks():
            solver.submit(task).result()
            assert solver._memo is not None and solver._memo[0] == (task.place, task.seed)
            memos[solver._memo[0]].add(id(solver._memo[1]))
        assert len(memos) == 4 and all(len(one) == 1 for one in memos.values())
