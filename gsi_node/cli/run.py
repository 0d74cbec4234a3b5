"""The run: one problem after another, each resumable where there is a checkpoint file, and what the shell is told.

It runs under asyncio, so that Ctrl-C stops a model between two tokens instead of after the last sample.
"""

from __future__ import annotations

import shlex
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, aclosing, nullcontext
from hashlib import blake2b
from json import dumps
from typing import Any

from pydantic import ValidationError
from rich.live import Live

from gsi_node.cli import output, view
from gsi_node.cli.loop import Loop
from gsi_node.cli.problems import MathProblem
from gsi_node.cli.start import Job
from gsi_node.cli.waiting import Waiting
from gsi_node.errors import BackendUnavailable, ConfigError, GSIError, ResumeMismatch, StorageError
from gsi_node.graph.checkpoint_file import (
    check_file,
    checkpoint_errors,
    close_checkpoints,
    is_finished,
    open_checkpoints,
    threads_of,
)
from gsi_node.graph.solver.math_solver import MathSolver
from gsi_node.graph.thread_lock import ThreadLocks
from gsi_node.host.screen import Screen, screen
from gsi_node.host.shell import DONE, FAILED, complain, loading
from gsi_node.identity import check_sampling_law, differing
from gsi_node.step.config import GSIConfig, completed
from gsi_node.step.layers import first_line
from gsi_node.types import Plain

UNREADABLE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError)
"""What may come of a state that this program did not write."""
MakeSolver = Callable[[str, str, str, GSIConfig], MathSolver]


def run(job: Job, make_solver: MakeSolver = MathSolver) -> int:
    """Do the job; the exit code: 0, 1 where problems of several failed, or 130 and 143 where it was interrupted. Raises
    what else the shell is told."""
    arguments = job.arguments
    loop = Loop()
    try:
        with loop, checkpoint_errors(arguments.checkpoint):
            solver = make_solver(arguments.draft, arguments.base, arguments.reward, job.config)
            failed = SolverRun(job, solver, loop).all()
    except KeyboardInterrupt:
        _farewell(job)
        return 128 + (signal.SIGTERM if loop.terminated else signal.SIGINT)
    except ValidationError as error:
        raise ConfigError(first_line(error)) from error
    if failed:
        complain(f"{len(failed)} of {len(job.problems)} problems failed: {', '.join(map(str, failed))}")
    return FAILED if failed else DONE


class SolverRun:
    """One command's problems, in order, on one event loop; loading happens between its runs, where Ctrl-C is prompt."""

    def __init__(self, job: Job, solver: MathSolver, loop: Loop) -> None:
        self.job = job
        self.solver = solver
        self.problems = job.problems
        self.loop = loop
        self.several = job.arguments.samples > 1
        self._before: Plain | None = None  # by problem a thread that was there before this command; None: not looked at
        self.notes: Screen = screen(sys.stderr)
        # with --json the reasoning is progress: shown on standard error, to a person only
        self.page: Screen | None = (self.notes if self.notes.is_terminal else None) if job.arguments.json else screen()

    def all(self) -> list[int]:
        """Every problem, then the closing table. Returns the numbers, from 1, of those that failed."""
        name = self.job.arguments.checkpoint
        with ExitStack() as stack:
            saver, locks = None, None
            if name is not None:
                check_file(name)
                locks = ThreadLocks(name)
                stack.callback(locks.close)
                with locks.setup():
                    saver = self.loop.run(open_checkpoints(name))
                stack.callback(lambda: self.loop.finish(close_checkpoints(saver)))
            graph = self.solver.build().compile(checkpointer=saver, name="math_solver")
            outcomes, failed = [], []
            for i in range(len(self.problems)):
                thread = self._thread(i)
                with locks.thread(thread) if locks is not None else nullcontext():
                    outcome = self._one(graph, saver, i, thread)
                if outcome is None:
                    failed.append(i + 1)
                else:
                    outcomes.append(outcome)
        if self.page is not None and outcomes:
            self.page.show(view.closing(outcomes, self.job.config))
        return failed

    def _failed(self, problem: MathProblem, why: str) -> None:
        """The row of a problem without a result, in the place of one."""
        if self.job.arguments.json:
            sys.stdout.write(output.failure(problem, why))
            sys.stdout.flush()
        if self.page is not None:
            self.page.show(view.failure(why))

    def _one(self, graph: Any, saver: Any, i: int, thread: str) -> Plain | None:
        """Solve or resume a problem, or show what is finished; None where it failed, and is one of several."""
        problem = self.problems[i]
        if self.page is not None:
            self.page.show(view.heading(problem.text, i + 1, len(self.problems)))
        if problem.refusal is not None:
            self._failed(problem, problem.refusal)
            return None
        config = {"configurable": {"thread_id": thread}} if saver is not None else {}
        before = self._kept(graph, config, problem, thread) if saver is not None else None
        if saver is not None and before is None and self.job.arguments.thread is None:
            self._tell_of_others(graph, saver, problem)
        started = time.perf_counter()
        if before is not None and is_finished(before.values, before.tasks):
            outcome = before.values
            self._note(f"thread {thread} is finished: its result is shown again")
            for sample in outcome["samples"]:
                self._steps(sample["steps"], sample["index"])
        else:
            self._load()
            started = time.perf_counter()  # the models' loading is not the problem's
            try:
                outcome = self.loop.run(self._solve(graph, saver, before, config, problem))
            except GSIError as error:
                if len(self.problems) == 1 or isinstance(error, BackendUnavailable | StorageError):
                    raise  # no other problem would fare better
                self._failed(problem, str(error))
                return None
        if self.job.arguments.json:
            sys.stdout.write(output.line(problem, outcome))
            sys.stdout.flush()
        if self.page is not None:
            self.page.show(view.result(outcome, time.perf_counter() - started))
        return dict(outcome)

    def _kept(self, graph: Any, config: Plain, problem: MathProblem, thread: str) -> Any:
        """A thread as it was left; None of a new one. Raises ConfigError where this program did not write it."""
        try:
            before = self.loop.run(graph.aget_state(config))
            if not (before.values or before.tasks):
                return None
            finished = is_finished(before.values, before.tasks)
            self._compare(before.values.get("run"), problem, thread, finished=finished)
            if finished:
                output.line(problem, before.values)
                for sample in before.values["samples"]:
                    for record in sample["steps"]:
                        view.step(record, sample["index"], self.job.config, None)
            return before
        except GSIError:
            raise
        except UNREADABLE as error:
            raise ConfigError(
                f"thread {thread} of {self.job.arguments.checkpoint} is not as the solver leaves it ({error!r:.80}); "
                "name another --thread or file"
            ) from error

    def _tell_of_others(self, graph: Any, saver: Any, problem: MathProblem) -> None:
        """A thread without a name is found by all that its run depends on: say where the problem is kept otherwise."""
        if self._before is None:
            self._before = {}
            for thread in self.loop.run(threads_of(saver)):
                try:
                    state = self.loop.run(graph.aget_state({"configurable": {"thread_id": thread}}))
                    self._before.setdefault(state.values["run"]["problem"], thread)
                except (GSIError, *UNREADABLE):  # another program's, or none of a problem: nothing to tell of
                    continue
        if (other := self._before.get(problem.text)) is not None:
            self._note(
                f"begun anew: thread {other} of {self.job.arguments.checkpoint} has this problem, with other settings, "
                f"samples or models, or of an earlier version; --thread {other} names it"
            )

    def _load(self) -> None:
        """Load the models, once."""
        with self._shown(Waiting("loading the models …")), loading():
            self.solver.gsi()

    async def _solve(self, graph: Any, saver: Any, before: Any, config: Plain, problem: MathProblem) -> Plain:
        """Solve or resume, showing each step as it is decided."""
        given: Plain | None = None
        kept: dict[int, int] = {}
        if before is None:
            samples = self.job.arguments.samples
            given = {"problem": problem.text, "problem_id": problem.problem_id, "n_samples": samples}
        else:
            kept = await self._show_what_was_kept(graph, before, config)
        ids = {problem.problem_id + (f"/{j}" if j else ""): j for j in range(self.job.arguments.samples)}
        outcome: Plain = {}
        # sync: each superstep is on disk before the next begins, so that a kill loses at most the one in hand, which is
        # drawn again from the same keys.
        durable = {"durability": "sync"} if saver is not None else {}
        stream = graph.astream(given, config, stream_mode=["custom", "tasks", "values"], subgraphs=True, **durable)
        waiting = Waiting("deciding a step …", self.job.config.rule.propose)
        with self._shown(waiting):
            async with aclosing(stream) as events:
                async for namespace, mode, event in events:
                    if mode == "values" and not namespace:
                        outcome = event
                    elif mode == "tasks":
                        waiting.hear(event)
                    elif mode == "custom" and "gsi_step" in event:
                        record = event["gsi_step"]
                        sample = ids[record["problem_id"]]
                        # LangGraph tells a step again whose writes were saved, and their checkpoint was not (1.2.15).
                        if record["index"] >= kept.get(sample, 0):
                            self._steps([record], sample, record["index"])
        return outcome

    async def _show_what_was_kept(self, graph: Any, before: Any, config: Plain) -> dict[int, int]:
        """The steps that an interrupted run had decided, from the checkpoints of its samples: how many of each."""
        self._note(f"thread {config['configurable']['thread_id']} is resumed")
        kept = {}
        for j, task in enumerate(task for task in before.tasks if task.name == "solve"):
            namespace = {**config["configurable"], "checkpoint_ns": f"solve:{task.id}"}
            steps = (await graph.aget_state({"configurable": namespace})).values.get("steps") or []
            self._steps(steps, j)
            kept[j] = len(steps)
        return kept

    def _steps(self, records: list[Plain], sample: int, first: int = 0) -> None:
        if self.page is not None:
            for index, record in enumerate(records, first):
                self.page.show(view.step(record, index, self.job.config, sample if self.several else None))

    def _shown(self, waiting: Waiting) -> AbstractContextManager[object]:
        """A sign of life on a terminal."""
        screen = self.page or self.notes
        if not screen.is_terminal:
            return nullcontext()
        return Live(waiting, console=screen, refresh_per_second=8, transient=True)

    def _thread(self, i: int) -> str:
        """The thread of problem i: as named, or a digest of everything that determines the run."""
        name = self.job.arguments.thread
        if name is not None:
            return name if len(self.problems) == 1 else f"{name}/{i}"
        content = dumps([self._about(self.problems[i]), self.solver.identity()], sort_keys=True)
        return blake2b(content.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()

    def _about(self, problem: MathProblem) -> Plain:
        samples = self.job.arguments.samples
        return {"problem": problem.text, "problem_id": problem.problem_id, "n_samples": samples}

    def _compare(self, then: Plain | None, problem: MathProblem, thread: str, *, finished: bool) -> None:
        """Refuse to go on with a thread that another problem, graph or configuration began, or an earlier version; what
        that one finished can be read."""
        if then is None:
            return  # interrupted before its first node: nothing was decided yet
        where, law = f"thread {thread} of {self.job.arguments.checkpoint}", then.get("sampling_law", 1)
        if not finished:
            check_sampling_law(law, where, "name another --thread")
        here = _flat({**self._about(problem), **self.solver.identity(), "sampling_law": law})
        kept = _flat({"sampling_law": law, **then, "config": completed(then["config"], self.job.config)})
        told = [f"{one.name}: {one.there!r} there, {one.here!r} here" for one in differing(kept, here)]
        if told:
            raise ResumeMismatch(
                f"{where} was begun differently ({'; '.join(told)}): give the same again, or name another --thread"
            )

    def _note(self, text: str) -> None:
        self.notes.show(text, style="dim")


def _flat(record: Plain) -> Plain:
    return {
        **{key: value for key, value in record.items() if not isinstance(value, dict)},
        **{key: value for part in record.values() if isinstance(part, dict) for key, value in part.items()},
    }


def _farewell(job: Job) -> None:
    """After an interruption: how to go on."""
    if job.arguments.checkpoint is None:
        sys.stderr.write("interrupted; nothing was kept (--checkpoint FILE.sqlite keeps every step)\n")
    else:
        sys.stderr.write(f"interrupted; every decided step is kept. To go on:\n  {shlex.join(job.command)}\n")
