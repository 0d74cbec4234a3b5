"""Where the time of a run goes on models in process, and what a method does on pocket math.

table: (a) the union of the intervals spent inside model forwards over the wall seconds of whole runs, (b) tokens a CPU
second alone and in company beside their bound, and a step early and late in a response (between.py), (c) microseconds
of the CPU that the graph itself costs a step, measured on table models, whose forwards cost nothing.
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


def graph_microseconds(length: int, repeats: int) -> float:
    """Median CPU microseconds a step costs on table models: LangGraph, the state and the stages, no forward."""
    table = TableModel(lambda prefix: {"go on\n\n" if len(prefix.steps) < length - 1 else "end": 1.0}, name="line")
    reward = TableReward({"go on\n\n": 0.9, "end": 0.9})
    graph = compile_gsi(draft=table, base=table, reward=reward, config=GSIConfig(n=8, max_steps=length))
    times = []
    for _ in range(repeats + 1):
        started = time.process_time()
        graph.invoke({"problem": "p"})
        times.append((time.process_time() - started) / length)
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


def table(parts: dict[str, Any], n: int, repeats: int, quick: bool) -> Table:
    """(a, b, c). quick: fewer problems. Raises SpecError for a model whose forwards cannot be timed."""
    for role, part in parts.items():
        if not hasattr(part, "engine"):
            raise SpecError(f"--{role}: only a model in process can be timed here, got a {type(part).__name__}")
    from gsi_node.tools import between  # it imports torch

    made = Table("what", "measured", "aim", title=f"gsi bench, n = {n}")
    share, seconds, steps = forward_share(parts, n, repeats)
    made.add_row("share of wall time inside forwards, alone", f"{share:.2f}", "≥ 0.90")
    made.add_row("seconds a step, alone", f"{seconds / steps:.4f} ({steps} steps)", "")
    config = GSIConfig(n=n, max_step_tokens=64, max_steps=12)
    for at_once, size in ((1, 16), (16, 16 if quick else 64)):
        cost = between.run_cost(parts, config, size, at_once)
        made.add_row(
            f"tokens a CPU second, {at_once} at a time",
            f"{cost.tokens / cost.seconds:.0f} ({cost.tokens} tokens, {cost.seconds:.1f} s), "
            f"{cost.forwards / cost.seconds:.2f} inside forwards",
            "",
        )
        made.add_row("  were it the forwards' products alone", f"{cost.tokens / cost.products:.0f}", "")
    early, late = between.step_times(parts, n, repeats)
    for number, times in ((5, early), (30, late)):
        told = f"{1e3 * times.seconds:.1f}, {1e3 * times.outside:.1f}"
        made.add_row(f"CPU ms of step {number}, outside of forwards", told, "")
    made.add_row("ratio of step 30 to step 5", f"{late.seconds / early.seconds:.2f}", "≤ 1.25")
    made.add_row("graph, CPU microseconds a step", f"{graph_microseconds(40, repeats):.0f}", "")
    return made
