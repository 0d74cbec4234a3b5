"""`gsi bench --engines`: what sharing forwards and keeping prefixes is worth, in one table.

(a) tokens (generated and scored, all models) a second with 1, 4 and 16 problems at a time; (b) twelve steps of GSI for
each of some problems against the obvious way (obvious.py), one problem at a time; so that neither ends early, the
response so far is given to both at each of the twelve steps; (c) the share of wall time inside forwards; (d, e) GSI
against sbon-base in seconds at equal n.
"""

from __future__ import annotations

import time
from typing import Any

from rich.table import Table

from gsi_node.graph.build import compile_gsi
from gsi_node.pocket.world.problems import problems
from gsi_node.specs.load import load_model, load_reward
from gsi_node.step.config import GSIConfig
from gsi_node.tools.obvious import ObviousGSI
from gsi_node.tools.timing import covered, forwards

STEPS = 12
GIVEN = "First, 7 + 5 = 12.\n\n"


def load(device: str) -> dict[str, Any]:
    """The shipped models on `device`."""
    where = f"?device={device}"
    return {
        "draft": load_model(f"pocket:draft{where}"),
        "base": load_model(f"pocket:base{where}"),
        "reward": load_reward(f"pocket{where}"),
    }


def forget(parts: dict[str, Any]) -> None:
    """Empty the prefix caches."""
    for part in parts.values():
        part.engine.cache.clear()


def solved(parts: dict[str, Any], config: GSIConfig, size: int, at_once: int) -> tuple[float, int, float]:
    """Runs over `size` test problems, from cold caches.

    Seconds; tokens generated and scored by all models; the share of the seconds that were inside forwards.
    """
    graph = compile_gsi(**parts, config=config)
    asked: list[Any] = [{"problem": p.problem, "problem_id": i} for i, p in enumerate(problems("test", 0, size))]
    here = {role: part for role, part in parts.items() if part is not None}
    forget(here)
    with forwards(here.values()) as spans:
        started = time.perf_counter()
        found = graph.batch(asked, config={"max_concurrency": at_once})
        seconds = time.perf_counter() - started
    bills = [bill for out in found for bill in out["usage"].values()]
    tokens = sum(bill["generated_tokens"] + bill["scored_tokens"] for bill in bills)
    return seconds, tokens, covered(spans) / seconds


def twelve_steps(parts: dict[str, Any], config: GSIConfig, size: int, at_once: int) -> float:
    """Seconds of STEPS decided steps for each of `size` problems; step k continues k given ones."""
    graph = compile_gsi(**parts, config=config.model_copy(update={"max_steps": 1}))
    texts = [problem.problem for problem in problems("test", 0, size)]
    forget(parts)
    started = time.perf_counter()
    for number in range(STEPS):
        asked: list[Any] = [
            {"problem": text, "problem_id": f"{i}/{number}", "initial_steps": [{"text": GIVEN}] * number}
            for i, text in enumerate(texts)
        ]
        graph.batch(asked, config={"max_concurrency": at_once})
    return time.perf_counter() - started


def twelve_obvious_steps(obvious: ObviousGSI, size: int) -> float:
    """The same steps the obvious way, one problem at a time."""
    started = time.perf_counter()
    for i, problem in enumerate(problems("test", 0, size)):
        for number in range(STEPS):
            obvious.step(problem.problem, GIVEN * number, STEPS * i + number)
    return time.perf_counter() - started


def table(device: str, n: int, quick: bool) -> Table:
    """Measure everything. quick: fewer problems, and no n = 64."""
    parts = load(device)
    config = GSIConfig(n=n, max_step_tokens=64, max_steps=STEPS)
    size = 16 if quick else 48
    solved(parts, config, 2, 2)  # warm-up
    made = Table("what", "measured", "aim", title=f"gsi bench --engines, n = {n}, device {device}")
    rates: dict[int, float] = {}
    for at_once in (1, 4, 16):
        seconds, tokens, share = solved(parts, config, size, at_once)
        rates[at_once] = tokens / seconds
        made.add_row(
            f"(a, c) {at_once} problems at a time",
            f"{tokens / seconds:.0f} tokens/s ({tokens} tokens, {seconds:.1f} s), share inside forwards {share:.2f}",
            "share ≥ 0.85",
        )
    made.add_row("(a) throughput of 16 at a time to one", f"{rates[16] / rates[1]:.2f} ×", "≥ 3 ×")
    few = 2 if quick else 8
    obvious = ObviousGSI(config, list(parts["draft"].step_ends(config.law()).sure_ids), device)
    slow = twelve_obvious_steps(obvious, few) / few
    made.add_row("(b) 12 steps the obvious way, s a problem", f"{slow:.2f}", "")
    for at_once, count in ((1, few), (16, 16)):
        fast = twelve_steps(parts, config, count, at_once) / count
        aim = "≥ 5 ×" if at_once > 1 else ""
        made.add_row(f"(b) the same here, {at_once} at a time", f"{fast:.2f} s, {slow / fast:.1f} × as fast", aim)
    for width in (n, 16) if quick else (n, 16, 64):
        taken: dict[str, float] = {}
        for method in ("gsi", "sbon-base"):
            run = config.model_copy(update={"n": width, "method": method})
            chosen = parts if method == "gsi" else {**parts, "draft": None}
            taken[method], *_ = solved(chosen, run, 8 if quick else 16, 1)
        ratio = taken["sbon-base"] / taken["gsi"]
        made.add_row(
            f"(d, e) n = {width}: gsi, sbon-base, {8 if quick else 16} problems one by one",
            f"{taken['gsi']:.1f} s, {taken['sbon-base']:.1f} s ({ratio:.2f} ×)",
            "",
        )
    return made
