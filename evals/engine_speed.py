"""Speed of the in-process engine: `python -m evals.engine_speed --draft pocket:draft --base pocket:base`.

Walks a few problems as GSI does (the draft proposes n, the base scores them, one is committed) and prints tokens a
second and a second of processor time (the one to compare on a shared machine), and the share of the time in forwards.
"""

from __future__ import annotations

import argparse
import sys
from time import perf_counter, process_time

import torch

from gsi_node.load import load_model
from gsi_node.models.transformers import TransformersModel
from gsi_node.types import Key, Prefix, SamplingLaw


def union(intervals: list[tuple[float, float]]) -> float:
    """Length of the union of intervals, in their unit."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def measure(draft: TransformersModel, base: TransformersModel, problems: list[str], n: int, steps: int) -> str:
    """One report line a phase."""
    law = SamplingLaw(max_step_tokens=64)
    inside: dict[str, list[tuple[float, float]]] = {"sample": [], "score": []}
    seconds, processor = {"sample": 0.0, "score": 0.0}, {"sample": 0.0, "score": 0.0}
    tokens = distinct = 0
    for problem in problems:
        prefix = Prefix(problem)
        for position in range(steps):
            draft.engine.forward_intervals = inside["sample"]
            base.engine.forward_intervals = inside["score"]
            start, spent = perf_counter(), process_time()
            candidates = draft.sample(prefix, n, Key(0, problem, position, "draft"), law)
            drafted, used = perf_counter(), process_time()
            base.score(prefix, candidates, law)
            processor["sample"] += used - spent
            processor["score"] += process_time() - used
            seconds["sample"] += drafted - start
            seconds["score"] += perf_counter() - drafted
            tokens += sum(len(step.token_ids) for step in candidates)
            distinct += len({step.token_ids for step in candidates})
            open_steps = [step for step in candidates if not step.finished]
            if not open_steps:
                break
            prefix = prefix.extended(open_steps[0])
    lines = [f"n = {n}, {torch.get_num_threads()} threads, {tokens} drafted tokens, {distinct} distinct candidates"]
    for phase, wall in seconds.items():
        forwards = inside[phase]
        lines.append(
            f"  {phase:6}  {tokens / wall:8.0f} tokens/s  {tokens / processor[phase]:8.0f} tokens/CPU-s  "
            f"{len(forwards):5d} forwards of {1e3 * union(forwards) / len(forwards):6.2f} ms, "
            f"{union(forwards) / wall:4.0%} of the time"
        )
    return "\n".join(lines)


def main() -> None:
    """Parse arguments, measure for n = 8 and 16, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draft", default="pocket:draft")
    parser.add_argument("--base", default="pocket:base")
    parser.add_argument("--n", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--problem", nargs="+", default=["What is 12 + 34 + 5?", "What is 7 * 8 - 9?"])
    options = parser.parse_args()
    draft, base = load_model(options.draft), load_model(options.base)
    if not isinstance(draft, TransformersModel) or not isinstance(base, TransformersModel):
        parser.error("both models must be in-process ones: pocket:… or hf:…")
    measure(draft, base, options.problem, 2, 1)  # warm up
    for n in options.n:
        draft.engine.cache.clear()
        base.engine.cache.clear()
        sys.stdout.write(measure(draft, base, options.problem, n, options.steps) + "\n")


if __name__ == "__main__":
    main()
