"""Importance-corrected neural JKO sampling as a LangGraph graph: train, sample, measure, draw.

    python graphs/neural_jko.py --target 8modes --out DIR                          (--help for the rest)
    python graphs/neural_jko.py --density FILE.py:function --dim 3 --out DIR       (your own log-density)

    flow ─┬→ reject_and_resample ─┬→ measure ─┬→ END
     ↑    └───────────────────────┘           │
     └────────────────────────────────────────┘

The state counts the layers that exist; what they are says DIR/stack.json alone. It is checkpointed in DIR (SQLite)
after every node. A run that was killed goes on at its last layer, to the very model it would have been.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":  # Ctrl-C while torch is being imported ends with one line, too
    from gsi_node.host.shell import prepare

    prepare()

import argparse
import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from time import process_time
from typing import Any

from langgraph.graph import END, START
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from typing_extensions import TypedDict

from gsi_node.errors import ConfigError, GSIError
from gsi_node.graph.checkpoint_file import check_file, checkpoint_errors
from gsi_node.graph.compiled import CompiledWholeRun, WholeRunGraph
from gsi_node.graph.serde import StrictSerializer
from gsi_node.host.files import write
from gsi_node.host.options import named_path, positive
from gsi_node.host.screen import screen
from gsi_node.host.shell import FAILED, WRONG_CALL, Parser, complain, ending, terminable
from gsi_node.needs import install_extra
from gsi_node.neural_jko import (
    PRESETS,
    TARGETS,
    KnownTarget,
    Run,
    Target,
    configured,
    generator_for,
    measured,
    named,
    named_density,
    pilot_numbers,
    relative_noise,
)
from gsi_node.neural_jko.forecast import LIKELY, MOST, seconds_left, timed
from gsi_node.types import Plain

CHECKPOINT = "checkpoint.sqlite"
VISIBLE = 4.0  # standard deviations of ρ at the truth


class JKOState(TypedDict, total=False):
    """layers: how many of the run's exist; their records are stack.json's alone. metrics: one record a block."""

    layers: int
    metrics: list[Plain]


class NeuralJKO:
    """The nodes over one run. samples: how many are drawn for `measure`."""

    def __init__(self, run: Run, samples: int = 5000) -> None:
        self.run, self.samples = run, samples

    def flow(self, state: JKOState) -> JKOState:
        return {"layers": self.run.grow(state.get("layers", 0))}

    def reject_and_resample(self, state: JKOState) -> JKOState:
        return {"layers": self.run.grow(state["layers"])}

    def measure(self, state: JKOState) -> JKOState:
        """Estimates of log Z on fresh draws and, where the truth is known, the distance to it."""
        return {"metrics": [*state.get("metrics", []), self.measured(state["layers"])]}

    def measured(self, depth: int) -> Plain:
        numbers = measured(self.run.stack(depth), self.run.target, self.samples, self.run.config.seed)
        return {"layers": depth, **numbers}

    def after_flow(self, state: JKOState) -> str:
        stage = self.run.next_stage(state["layers"])
        return "reject_and_resample" if stage is not None and stage.kind == "rejection" else "measure"

    def after_measure(self, state: JKOState) -> str:
        return END if self.run.next_stage(state["layers"]) is None else "flow"

    def ended(self, state: Mapping[str, Any]) -> bool:
        """The plan has nothing more, and what it made is measured."""
        depth, metrics = state.get("layers", 0), state.get("metrics", [])
        return bool(metrics) and metrics[-1]["layers"] == depth and self.run.next_stage(depth) is None

    def build(self) -> WholeRunGraph:
        """The graph, uncompiled: no recursion limit cuts a plan of many layers."""
        graph = WholeRunGraph(JKOState)
        for node in (self.flow, self.reject_and_resample, self.measure):
            graph.add_node(node.__name__, node)
        graph.add_edge(START, "flow")
        graph.add_conditional_edges("flow", self.after_flow, ["reject_and_resample", "measure"])
        graph.add_edge("reject_and_resample", "measure")
        graph.add_conditional_edges("measure", self.after_measure, ["flow", END])
        return graph


def draw(run: Run, n: int) -> list[Path]:
    """The pages of the run's folder, over fresh draws of the model and of the truth, where it is known."""
    from gsi_node.neural_jko.picture import draw_pages

    stack, target, seed = run.stack(), run.target, run.config.seed
    x = stack.sample(n, generator_for(seed, "draw", len(stack.layers), stack.device)).x.cpu()
    truth = target.sample(n, generator_for(seed, "drawn truth", 0)) if isinstance(target, KnownTarget) else None
    return draw_pages(run, x, truth)


def compiled(node: NeuralJKO, connection: sqlite3.Connection) -> CompiledWholeRun:
    """The graph over a checkpoint in SQLite. Raises ConfigError where the package is missing."""
    try:
        from langgraph.checkpoint.sqlite import SqliteSaver
    except ModuleNotFoundError as error:
        raise ConfigError(f"checkpoints need {error.name}: {install_extra('jko')}") from error
    saver = SqliteSaver(connection, serde=StrictSerializer())
    return node.build().compile(checkpointer=saver, name="neural_jko")


def train(node: NeuralJKO) -> Plain:
    """Run the graph to its end, from its checkpoint where there is one. Returns the final state's values.

    It has ended where no layer is missing on disk; a checkpoint that counts layers which are not there is not gone on
    from. Raises InUse where another process trains in the folder, StorageError where the checkpoint cannot be written.
    """
    run, path = node.run, node.run.folder / CHECKPOINT
    config: Any = {"configurable": {"thread_id": run.target.name}}
    check_file(str(path))
    with (
        checkpoint_errors(path),
        run.held(),
        closing(sqlite3.connect(path, check_same_thread=False)) as connection,
    ):
        graph: Any = compiled(node, connection)
        try:
            before = graph.get_state(config)
            values = before.values
            begun = bool(values or before.tasks) and values.get("layers", 0) <= len(run.finished())
            if begun and node.ended(values):
                return dict(values)
            return dict(graph.invoke(None if begun else {"layers": 0, "metrics": []}, config))
        finally:
            with graph.checkpointer.lock:  # after Ctrl-C a thread may still write: closed under it, SQLite crashes
                connection.close()


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(prog="neural_jko.py", description=(__doc__ or "").split("\n\n")[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--target", choices=TARGETS, help="what to sample from")
    what.add_argument(
        "--density",
        metavar="PLACE:FUNCTION",
        help="or your own: package.module:function or FILE.py:function, points (n, dim) -> log g (n,), nats, up to a "
        "constant, in torch's operations",
    )
    parser.add_argument("--dim", type=positive, help="of the points of --density")
    parser.add_argument(
        "--out", required=True, type=named_path, help="folder of this run; the same command goes on in it"
    )
    parser.add_argument("--preset", default="cpu", choices=list(PRESETS), help="cpu, or the paper's setting for a GPU")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target-seed", type=int, help="of the means of mixtures and the points of cox")
    parser.add_argument("--points", type=named_path, help="those of cox: two numbers in [0, 1] a line")
    parser.add_argument("--samples", type=positive, default=5000, help="how many to draw and to measure on")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of JKOConfig")
    options = parser.parse_args(argv)
    if options.samples < 2:
        parser.error("--samples: want at least 2, got 1")
    if (options.density is None) != (options.dim is None):
        parser.error("--density and --dim: want both or neither; a target has its own dimension")
    return options


def changes(pairs: Sequence[str]) -> Plain:
    """NAME=VALUE, the value as JSON."""
    found: Plain = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        try:
            found[name] = json.loads(value)
        except (ValueError, RecursionError):
            sign = ""
        if not sign:
            raise ConfigError(f"--set {pair[:60]}: want NAME=VALUE with a JSON value, such as steps=200")
    return found


def aimed_at(options: argparse.Namespace) -> Target:
    """Raises ConfigError."""
    if options.target is not None:
        return named(options.target, options.target_seed, options.points)
    if options.target_seed is not None or options.points is not None:
        raise ConfigError("--target-seed, --points: of a --target; a --density has none")
    return named_density(options.density, options.dim)


def command(options: argparse.Namespace, console: Console) -> int:
    start = process_time()
    target = aimed_at(options)
    config = configured(options.preset, options.target or "own", {"seed": options.seed, **changes(options.set)})
    bar = Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console, transient=True)
    task = bar.add_task(f"{len(config.plan())} layers", total=None)
    run = Run(target, config, options.out, device=options.device, told=showing(bar, task))
    node = NeuralJKO(run, options.samples)
    with run.held():
        costs = timed(run)
        used = process_time() - start
        likely, announced, alone = (
            (used + seconds_left(run, options.samples, costs, course)) / 60
            for course in (LIKELY, MOST, MOST._replace(ess=1.0))
        )
        why = f", if all {config.blocks} blocks are wanted ({alone:.1f} if none is)" if alone < announced else ""
        told = f"about {likely:.1f} CPU minutes; at most {announced:.1f}{why}"
        console.print(f"{'announced':21} {told}", highlight=False, soft_wrap=True)
        with bar:
            final = train(node)
        last = final["metrics"][-1]
        if last.get("samples") != options.samples:  # the model was finished by a call that measured on others
            last = node.measured(final["layers"])
        numbers = {**last, **beside(run, options.samples)}
        pages = draw(run, options.samples)
        write(options.out / "metrics.json", json.dumps(numbers, indent=1) + "\n")
    spent = (process_time() - start) / 60
    warning = numbers.pop("warning", None)
    for key, value in numbers.items():
        shown = ", ".join(f"{v:.4f}" for v in value) if isinstance(value, list) else f"{value:.5g}"
        console.print(f"{key:21} {shown}", highlight=False)
    console.print(f"{'pages':21} {', '.join(map(str, pages))}", highlight=False, soft_wrap=True)
    console.print(f"{'spent':21} {spent:.1f} CPU minutes", highlight=False)
    if spent > announced:
        complain(f"this took {spent:.1f} CPU minutes, more than the {announced:.1f} announced")
    if warning:
        complain(warning)
    if "rho" in numbers and numbers["rho"] > VISIBLE * numbers["rho_noise"]:
        complain(
            f"ρ = {numbers['rho']:.1e} is {numbers['rho'] / numbers['rho_noise']:.0f} times its noise at the truth: "
            "the samples are visibly off"
        )
    return 0


def beside(run: Run, n: int) -> Plain:
    """What stands beside a model's numbers: ρ's noise, the pilot's own resample, and what the layers cost."""
    target, seed, found = run.target, run.config.seed, run.ground.pilot
    numbers: Plain = {}
    if isinstance(target, KnownTarget):
        numbers["rho_noise"] = relative_noise(target, n, generator_for(seed, "noise", 0))
    if found is not None:
        numbers |= pilot_numbers(found, n, target, generator_for(seed, "pilot's resample", 0))
    for key in ("seconds", "cpu_seconds", "evaluations"):
        numbers[key] = sum(layer[key] for layer in run.finished())
    return numbers


def showing(bar: Progress, task: Any) -> Callable[[str, int, int, float], None]:
    def told(what: str, done: int, total: int, loss: float) -> None:
        bar.update(task, description=f"{what}, loss {loss:.3f}", completed=done, total=total)

    return told


def main(argv: Sequence[str]) -> int:
    options = parse(argv)
    with terminable() as code:
        try:
            return command(options, screen())
        except GSIError as error:
            complain(str(error))
            return WRONG_CALL if isinstance(error, ConfigError) else FAILED
        except KeyboardInterrupt:
            sys.stderr.write(f"stopped; the same command goes on from the layers in {options.out}\n")
            return code()


if __name__ == "__main__":
    with ending():
        sys.exit(main(sys.argv[1:]))
