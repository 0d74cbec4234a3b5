"""One row: a problem solved by one method with one n and seed, graded and counted. What every worker holds."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import cast

from evals.data.problems import Grade, Problem, Ungraded
from evals.graders.grading import Grader, check_installed
from evals.graders.voting import majority
from evals.rows.row import Response, RoleBill, Row, VoteRecord, said
from evals.run.cost import forget_peak, peak_memory_bytes
from evals.run.memo import MEMO, Memo
from evals.run.metering import METER, SPANS, MeteredModel, MeteredReward, WorkByRole, metered
from evals.run.plan import MAJORITY, Plan, Task, Workplace
from evals.run.record import Cost, blank_row, failed_row, response_of, solved_row
from gsi_node.bases import Closing
from gsi_node.cancel import run_cancellable
from gsi_node.errors import Cancelled
from gsi_node.graph.build import compile_gsi
from gsi_node.graph.compiled import CompiledWholeRun
from gsi_node.protocols import Reward, StepModel
from gsi_node.specs.load import load_part
from gsi_node.step.drafts import Drafts, GivenDrafts
from gsi_node.tools.timing import Span, covered

Load = Callable[[str, str], object]  # from role and spec, as specs.load.load_part


class Solver(Closing):
    """The models of a plan, a compiled graph a method, and threads for the rows in flight. A context manager.

    With one row in flight each row begins with empty prefix caches, so its seconds do not depend on the rows before.
    """

    def __init__(self, plan: Plan, workplace: Workplace, load: Load = load_part, threads: int = 1) -> None:
        """Loads the models: raises GSIError. threads: torch's, where a model needs torch."""
        check_installed({problem.kind for problem in plan.problems})
        self.plan = plan
        self.workplace = workplace
        loaded = {role: load(role, plan.specs[role]) for role in plan.roles}
        self.drafts = Drafts.of(cast("GivenDrafts | None", loaded.pop("draft", None)))
        loaded |= zip(self.drafts.roles, self.drafts.models, strict=True)
        self.parts = {role: metered(role, cast("StepModel | Reward", part)) for role, part in loaded.items()}
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(threads)
        self._graphs = {method: self._compiled(method) for method in plan.methods}
        self._grader = Grader(workers=1, seconds=plan.grading_seconds)
        self._threads = ThreadPoolExecutor(workplace.concurrency, thread_name_prefix="row")
        self._memo: tuple[tuple[int, int], Memo] | None = None

    def fingerprints(self) -> dict[str, str]:
        """Of the models, by role."""
        return {role: part.fingerprint for role, part in self.parts.items()}

    def submit(self, task: Task) -> Future[Row]:
        """Begin a row, in a thread."""
        return self._threads.submit(self._row, task, self._memo_of(task))

    def finished(self, task: Task, future: Future[Row]) -> Row:
        """The row of a future that is done; where it failed, a row that says why."""
        error = future.exception()
        if error is None:
            return future.result()
        return failed_row(blank_row(self.plan, self.workplace, task), error)

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)
        self._grader.close()

    def _compiled(self, method: str) -> CompiledWholeRun:
        models = {role: part for role, part in self.parts.items() if isinstance(part, MeteredModel)}
        reward = next((part for part in self.parts.values() if isinstance(part, MeteredReward)), None)
        drafts = replace(self.drafts, models=tuple(models[role] for role in self.drafts.roles))
        config = self.plan.config(method, self.plan.ns[0], self.plan.seeds[0])
        return compile_gsi(draft=drafts.given(), base=models.get("base"), reward=reward, config=config)

    def _memo_of(self, task: Task) -> Memo | None:
        """The last problem's alone is kept: its rows are given one after another."""
        if not self.workplace.memo:
            return None
        about = task.place, task.seed
        if self._memo is None or self._memo[0] != about:
            self._memo = about, Memo()
        return self._memo[1]

    def _row(self, task: Task, memo: Memo | None) -> Row:
        if self.workplace.concurrency == 1:
            self._forget()
        meter: WorkByRole = {}
        spans: list[Span] = []
        tokens = METER.set(meter), SPANS.set(spans), MEMO.set(memo)
        started = time.perf_counter()
        try:
            responses = self._responses(task)
        finally:
            METER.reset(tokens[0])
            SPANS.reset(tokens[1])
            MEMO.reset(tokens[2])
        seconds = time.perf_counter() - started
        memory = peak_memory_bytes()
        chosen, grade, votes = self._judged(task, self.plan.problems[task.place], responses)
        usage = summed(responses)
        cost = Cost(usage, self._flops(meter, usage), seconds, covered(spans), memory)
        return solved_row(blank_row(self.plan, self.workplace, task), chosen, cost, grade, votes)

    def _responses(self, task: Task) -> list[Response]:
        """What the graph said, within the seconds a row may take. Raises Cancelled beyond them."""
        solve = partial(self._majority if task.method in MAJORITY else self._once, task)
        seconds = self.workplace.row_seconds
        return solve() if seconds is None else asyncio.run(_within(seconds, solve))

    def _once(self, task: Task) -> list[Response]:
        return [self._invoke(task, self.plan.stream_id(task), task.n)]

    def _majority(self, task: Task) -> list[Response]:
        """n whole responses, each from streams of its own."""
        name = self.plan.stream_id(task)
        return [self._invoke(task, name + (f"/{j}" if j else ""), 1) for j in range(task.n)]

    def _invoke(self, task: Task, stream_id: str, n: int) -> Response:
        asked = {"problem": self.plan.problems[task.place].problem, "problem_id": stream_id}
        return response_of(self._graphs[task.method].invoke(asked, context={"n": n, "seed": task.seed}))

    def _judged(
        self, task: Task, problem: Problem, responses: list[Response]
    ) -> tuple[Response, Grade, list[VoteRecord] | None]:
        """The response that counts, its grade, and the votes where there was a vote; the first where nobody knows who
        won it."""
        if task.method not in MAJORITY:
            return responses[0], self._grader.grade(problem, said(responses[0])), None
        grader = self._grader.limited(self.plan.vote_seconds)
        grades = [grader.grade(problem, said(response)) for response in responses]
        try:
            winner, votes = majority(problem, grades, grader)
        except Ungraded as error:
            return responses[0], Grade(None, None, str(error)), []
        return responses[winner], grades[winner], votes

    def _flops(self, meter: WorkByRole, usage: Mapping[str, RoleBill]) -> dict[str, float]:
        """By role: of a model of known size that was asked; 0 where a known model was not, or is no network."""
        found: dict[str, float] = {}
        for role in usage:
            sizes, work = self.parts[role].sizes, meter.get(role)
            if sizes is not None:
                found[role] = sum(size.flops(work) for size in sizes) if work is not None else 0.0
        return found

    def _forget(self) -> None:
        """Empty the prefix caches, and begin the count of memory anew."""
        for part in self.parts.values():
            engine = getattr(part, "engine", None)
            if engine is not None:
                engine.cache.clear()
        forget_peak()


async def _within(seconds: float, solve: Callable[[], list[Response]]) -> list[Response]:
    """What `solve` returns; Cancelled, which reaches the models, where it takes longer."""
    clock = asyncio.timeout(seconds)
    try:
        async with clock:
            return await run_cancellable(solve)
    except TimeoutError as error:
        if clock.expired():
            raise Cancelled(f"the row took longer than --row-seconds {seconds:g}") from error
        raise


def summed(responses: Iterable[Response]) -> dict[str, RoleBill]:
    """What the models were asked for all the responses, by role."""
    total: dict[str, RoleBill] = {}
    for response in responses:
        for role, bill in response.usage.items():
            total[role] = total[role] + bill if role in total else bill
    return total
