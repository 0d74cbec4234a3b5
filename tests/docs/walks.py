"""The two ways of docs/architecture.md, followed by traces of the calls."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from evals.__main__ import main
from evals.data.problems import Problem
from evals.report.stats import proportion
from evals.rows.appender import Appender
from evals.rows.row import Row
from evals.run.crew import Done, Event, WorkerReady
from evals.run.drive import drive
from evals.run.folder import make, results_file
from evals.run.ledger import Ledger
from evals.run.plan import Plan, Task, Workplace
from evals.run.progress import RunMeter
from evals.run.solve import Solver
from gsi_node import GSIConfig, compile_gsi
from gsi_node.protocols import Reward, StepModel
from gsi_node.tables.models import TableModel
from gsi_node.tables.rewards import TableReward
from tests.docs.trace import walks

MARK = "what nothing else says"
MODEL = TableModel({MARK + r": \boxed{4}": 1.0})
PARTS: dict[str, StepModel | Reward] = {"draft": MODEL, "base": MODEL, "reward": TableReward(lambda prefix, step: 0.5)}
PLAN = Plan(
    data="made.jsonl",
    problems=(Problem("2+2", "What is 2 + 2?", "4", "math", {}),),
    methods=("gsi",),
    ns=(2,),
    seeds=(0,),
    specs=dict.fromkeys(PARTS, "made"),
    fields={},
    record="summary",
)


def reward_walk() -> str:
    """The functions that a reward passes, a line a file, from `Reward.__call__` to the commit of its step."""
    reward = 0.8125
    draft, base = TableModel({"a\n\n": 0.5, "b\n\n": 0.5}), TableModel({"a\n\n": 0.3, "b\n\n": 0.7})
    judge = TableReward({"a\n\n": reward, "b\n\n": reward})
    config = GSIConfig(method="gsi", n=2, max_steps=1, threshold=0.0)
    gsi = compile_gsi(draft=draft, base=base, reward=judge, config=config)
    (passed,) = walks(lambda: gsi.invoke({"problem": "?"}), [reward])
    return listed(_to(passed, "gsi_node.graph.nodes:GSINodes._commit"))


def row_walk() -> str:
    """Those that a row passes on its way into the file, then out of it into a tally, then as a number into a plot."""
    made, low = "evals.run.record:solved_row", proportion([1], [1]).low
    ends = ("evals.report.stats:wilson", "evals.report.axes:errorbars")
    with TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        make(run)
        (written,) = walks(lambda: _solve(run), [MARK])
        read, number, above = walks(lambda: _report(run), [MARK, low], ends)
    plotted = [name for name in _to(number, ends[-1]) if name in above]
    return listed([*written[written.index(made) :], *_to(read, "evals.report.arms:clustered"), *plotted])


class Here:
    """A worker in this process (evals.run.drive.Hands)."""

    def __init__(self) -> None:
        self.solver = Solver(PLAN, Workplace(), load=lambda role, spec: PARTS[role])
        self.flying: list[tuple[Task, Future[Row]]] = []
        self.ready = False

    def room(self) -> bool:
        return self.ready and not self.flying

    def give(self, task: Task) -> None:
        self.flying.append((task, self.solver.submit(task)))

    def wait(self, seconds: float) -> list[Event]:
        if not self.ready:
            self.ready = True
            return [WorkerReady(self.solver.fingerprints())]
        task, future = self.flying.pop()
        future.exception()
        return [Done.of(task, self.solver.finished(task, future))]

    def stop(self, *, at_once: bool) -> None:
        self.solver.close()


def _solve(folder: Path) -> None:
    with Appender(results_file(folder, None), repair=False) as appender, redirect_stderr(StringIO()):
        drive(Here, list(PLAN.tasks()), Ledger(PLAN, folder, appender, RunMeter(1), {}))


def _report(folder: Path) -> None:
    with redirect_stdout(StringIO()):
        main(["report", str(folder)])


def _to(passed: list[str], last: str) -> list[str]:
    return passed[: passed.index(last) + 1]


def listed(passed: list[str]) -> str:
    """Functions in their order, those of one file that follow each other on one line."""
    lines: list[list[str]] = []
    for name in passed:
        module, function = name.split(":")
        if not lines or lines[-1][0] != module:
            lines.append([module])
        lines[-1].append(f"`{function}`")
    return "".join(f"{i}. {module}: {', '.join(names)}\n" for i, (module, *names) in enumerate(lines, 1))
