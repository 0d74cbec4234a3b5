"""`make test-scale`: what `gsi scale` predicts of three `gsi serve` processes here, and what they do.

The parts of a step are timed over HTTP, alone and in company; then the node solves pocket problems over the same
servers, so many at a time, and the steps that it decides a second are set beside the simulation at the acceptance that
was seen. Steps are cut to a few tokens, so that few candidates end early. Needs a machine with little else to do.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gsi_node.cli.__main__ import main as gsi
from gsi_node.graph.build import compile_gsi
from gsi_node.graph.compiled import CompiledWholeRun
from gsi_node.pocket.world.problems import problems
from gsi_node.specs.load import load_parts
from gsi_node.step.config import GSIConfig
from gsi_node.step.records import decided
from gsi_node.tools.bench_sizes import read_sizes
from gsi_node.tools.queueing import KINDS, Fleet, simulate
from gsi_node.tools.scale import company_of
from tests.service.running import Command, command

N, TOKENS, PREFIX, COMPANY = 16, 6, 64, 4
TOLERANCE = 1.5
"""Factor between predicted and measured: the node's own milliseconds, the client's CPU and other processes are not in
the model."""


def main(problems_each: int = 24) -> int:
    """0 where every prediction is within TOLERANCE."""
    with ExitStack() as stack, TemporaryDirectory() as folder:
        served = (
            ("draft", "--model", "pocket:draft"),
            ("base", "--model", "pocket:base"),
            ("reward", "--reward", "pocket"),
        )
        started = {role: stack.enter_context(command(*given)) for role, *given in served}
        specs = {role: f"remote:{answering(service)}" for role, service in started.items()}
        file = Path(folder) / "sizes.json"
        given = [f"--n={N}", f"--prefix={PREFIX}", f"--tokens={TOKENS}", f"--company={COMPANY}", "--repeats=9"]
        gsi(["bench", "--models", ",".join(specs.values()), *given, "--acceptance=0.82", "--json", str(file)])
        [cell] = read_sizes(file).cells
        company = company_of(cell)
        sys.stdout.write(f"γ: {', '.join(f'{part} {value:.2f}' for part, value in company.items())}\n")
        ratios = []
        for callers in (1, COMPANY):
            rate, acceptance = measured(specs, callers, problems_each)
            servers, devices = dict.fromkeys(KINDS, 1), min(3, os.cpu_count() or 1)
            fleet = Fleet(cell.seconds, company, acceptance, callers, servers, devices)
            found = simulate(fleet)
            ratios.append(found.steps / rate)
            sys.stdout.write(
                f"{callers} at a time, acceptance {acceptance:.2f}: predicted {found.steps:.1f}, measured {rate:.1f} "
                f"steps/s, ratio {ratios[-1]:.2f}; fullest: {found.bottleneck}\n"
            )
    return int(not all(1 / TOLERANCE <= ratio <= TOLERANCE for ratio in ratios))


def answering(service: Command) -> str:
    """Its address, once it answers: on a busy machine loading takes longer than `command` waits."""
    until = time.monotonic() + 300
    while True:
        try:
            service.connect().close()
        except ConnectionError:
            assert service.process.poll() is None and time.monotonic() < until, "a service does not answer"
            time.sleep(0.2)
        else:
            return service.url


def measured(specs: dict[str, str], callers: int, count: int) -> tuple[float, float]:
    """Steps a second, and the share of accepted ones, of the node over `count` test problems."""
    config = GSIConfig(n=N, step_end=f"tokens:{TOKENS}", max_step_tokens=TOKENS, max_steps=6)
    graph = compile_gsi(**load_parts(specs), config=config)
    asked = [{"problem": p.problem, "problem_id": i} for i, p in enumerate(problems("test", 0, count + callers))]
    solved(graph, asked[count:], callers)
    started = time.perf_counter()
    steps = solved(graph, asked[:count], callers)
    seconds = time.perf_counter() - started
    return len(steps) / seconds, sum(steps) / len(steps)


def solved(graph: CompiledWholeRun, asked: Sequence[Any], callers: int) -> list[bool]:
    """Whether each step was accepted."""
    runs = graph.batch(list(asked), config={"max_concurrency": callers})
    return [step["accepted"] for run in runs for step in decided(run["steps"])]


if __name__ == "__main__":
    sys.exit(main())
