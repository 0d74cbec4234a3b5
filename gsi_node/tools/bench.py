"""Where the time of a run goes on models in process, and what a method does on pocket math.

table: (a) the union of the intervals spent inside model forwards over the wall seconds of whole runs, (b) seconds per
step at step 5 and at step 30 of one long response, and their ratio, (c) microseconds the graph itself costs a step,
measured on table models, whose forwards cost nothing.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from rich.table import Table

from gsi_node.core.accept import calibrate_log_ratio_clip
from gsi_node.errors import SpecError
from gsi_node.graph.build import compile_gsi
from gsi_node.pocket.world.problems import grade, problems
from gsi_node.specs.load import load_parts
from gsi_node.step.config import GSIConfig
from gsi_node.step.records import answering, decided
from gsi_node.tables.models import TableModel
from gsi_node.tables.rewards import TableReward
from gsi_node.tools.timing import covered, forwards

PROBLEMS = ("What is 12 * (7 + 5)?", "Solve for x: 3x + 7 = 25.", "What is 20% of 45?", "Compute (8 + 9) * 4 - 6.")


def forward_share(parts: dict[str, Any], n: int, repeats: int) -> tuple[float, float, int]:
    """(share of wall time inside forwards, wall seconds, decided steps) of GSI runs over PROBLEMS, without a saver."""
    graph = compile_gsi(**parts, config=GSIConfig(n=n, max_step_tokens=64, max_steps=12))
    graph.invoke({"problem": PROBLEMS[0], "problem_id": "warm-up"})
    with forwards(parts.values()) as spans:
        steps, started = 0, time.perf_counter()
        for repeat in range(repeats):
            for problem in PROBLEMS:
                steps += len(graph.invoke({"problem": problem}, context={"seed": repeat})["steps"])
        seconds = time.perf_counter() - started
    return covered(spans) / seconds, seconds, steps


def step_seconds(parts: dict[str, Any], n: int, repeats: int) -> dict[int, float]:
    """Median seconds of a decided step number 5 and number 30 of one response.

    The models end a response after a few steps, so each timed step continues a given partial response of equal steps.
    """
    graph = compile_gsi(**parts, config=GSIConfig(n=n, max_step_tokens=16, max_steps=1, threshold=-1e9))
    found: dict[int, float] = {}
    for number in (5, 30):
        times = []
        for repeat in range(repeats + 1):
            given = [{"text": "First, 7 + 5 = 12.\n\n"}] * (number - 1)
            ask = {"problem": PROBLEMS[0], "problem_id": f"{number}/{repeat}", "initial_steps": given}
            graph.invoke(ask, context={"seed": 2 * repeat})  # leaves the prefix cached, as a run's own last step does
            marks: dict[str, float] = {}  # when each node's update arrived: reading the given steps is not the step
            for update in graph.stream(ask, context={"seed": 2 * repeat + 1}, stream_mode="updates"):
                marks.update(dict.fromkeys(update, time.perf_counter()))
            times.append(marks["tilt_and_accept"] - marks["begin"])
        found[number] = statistics.median(times[1:])
    return found


def graph_microseconds(length: int, repeats: int) -> float:
    """Median microseconds a step costs on table models: LangGraph, the state and the stages, without any forward."""
    table = TableModel(lambda prefix: {"go on\n\n" if len(prefix.steps) < length - 1 else "end": 1.0}, name="line")
    reward = TableReward({"go on\n\n": 0.9, "end": 0.9})
    graph = compile_gsi(draft=table, base=table, reward=reward, config=GSIConfig(n=8, max_steps=length))
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        graph.invoke({"problem": "p"})
        times.append((time.perf_counter() - started) / length)
    return statistics.median(times[1:]) * 1e6


def on_pocket_math(parts: dict[str, Any], config: GSIConfig, size: int) -> str:
    """A method on `size` test problems: acceptance rate over all decided steps, accuracy, tokens a problem by model.

    Of a method that scans also the share of candidates judged, of scans that hit, and of ratios that the clip bound.
    """
    graph = compile_gsi(**parts, config=config)
    accepted: list[bool] = []
    scans: list[dict[str, Any]] = []
    kinds = ("draft generated", "base generated", "base scored", "reward scored")
    right, tokens = 0, dict.fromkeys(kinds, 0)
    for i, problem in enumerate(problems("test", 0, size)):
        out = graph.invoke({"problem": problem.problem, "problem_id": i})
        accepted += [step["accepted"] for step in decided(out["steps"])]
        batches = [step.get("rejected") or step for step in out["steps"]]
        scans += [batch["scan"] for batch in batches if "scan" in batch]
        right += grade(problem, answering(out["steps"]))
        for what in tokens:
            role, kind = what.split()
            bills = [bill for name, bill in out["usage"].items() if name.partition("/")[0] == role]
            tokens[what] += sum(bill[f"{kind}_tokens"] for bill in bills)
    each = ", ".join(f"{count / size:.0f} {what}" for what, count in tokens.items())
    rate = sum(accepted) / len(accepted)
    line = f"acceptance rate {rate:.3f}, accuracy {right / size:.3f} on {size} problems; tokens a problem: {each}"
    if not scans:
        return line
    judged = sum(scan["n_scored"] for scan in scans)
    return (
        f"{line}; judged {judged / (len(scans) * config.n):.3f} of the candidates, "
        f"hit in {sum(scan['hit'] for scan in scans) / len(scans):.3f} of the steps, "
        f"clipped {sum(scan['n_clipped'] for scan in scans) / judged:.3f} of the ratios"
    )


def clip(parts: dict[str, Any], config: GSIConfig, size: int) -> str:
    """The 95th percentile of the log-ratio over the draft's candidates on `size` validation problems, in nats."""
    graph = compile_gsi(**parts, config=config.model_copy(update={"method": "gsi", "record": "candidates"}))
    ratios: list[float] = []
    for i, problem in enumerate(problems("validation", 0, size)):
        for step in graph.invoke({"problem": problem.problem, "problem_id": i})["steps"]:
            ratios += [each["log_ratio"] for each in (step.get("rejected") or step)["candidates"]]
    return f"log_ratio_clip {calibrate_log_ratio_clip(ratios):.2f}: the 95th percentile of {len(ratios)} log-ratios"


def flips(specs: dict[str, str], config: GSIConfig, size: int) -> str:
    """How many of `size` test problems get other token ids when every call recomputes its prefix.

    As after a kill at every step: in float32 a cold and a warm cache differ by rounding.
    """
    graphs = []
    for suffix in ("", "?cache_bytes=0"):
        parts = load_parts({role: spec + suffix for role, spec in specs.items()})
        graphs.append(compile_gsi(**parts, config=config))
    changed = 0
    for i, problem in enumerate(problems("test", 0, size)):
        warm, cold = (g.invoke({"problem": problem.problem, "problem_id": i})["steps"] for g in graphs)
        changed += [step["token_ids"] for step in warm] != [step["token_ids"] for step in cold]
    return f"{changed} of {size} problems change their token ids when no prefix is cached"


def table(parts: dict[str, Any], n: int, repeats: int) -> Table:
    """(a, b, c). Raises SpecError for a model whose forwards cannot be timed."""
    for role, part in parts.items():
        if not hasattr(part, "engine"):
            raise SpecError(f"--{role}: only a model in process can be timed here, got a {type(part).__name__}")
    share, seconds, steps = forward_share(parts, n, repeats)
    by_step = step_seconds(parts, n, 2 * repeats)
    made = Table("what", "measured", "aim", title=f"gsi bench, n = {n}")
    made.add_row("share of wall time inside forwards", f"{share:.2f}", "≥ 0.85")
    made.add_row("seconds a step, whole runs", f"{seconds / steps:.4f} ({steps} steps)", "")
    made.add_row("seconds a step at step 5, at step 30", f"{by_step[5]:.4f}, {by_step[30]:.4f}", "")
    made.add_row("ratio of step 30 to step 5", f"{by_step[30] / by_step[5]:.2f}", "≤ 1.3")
    made.add_row("graph, microseconds a step", f"{graph_microseconds(40, repeats):.0f}", "")
    return made
