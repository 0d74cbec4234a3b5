"""Tokens a CPU second of this tree of the code and of another (a git worktree), alternating, alone and 16 at a time.

    git worktree add ../before 9e6f9ff && python -m tests.bench_trees ../before

Both run in this interpreter's environment on the shipped models, which are the same since 9e6f9ff.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parents[1]
WORK = """
import json, sys, time
import torch
torch.set_num_threads(1)
from gsi_node import GSIConfig, compile_gsi
try:
    from gsi_node.pocket.world.problems import problems
    from gsi_node.specs.load import load_model, load_reward
except ImportError:  # as it was laid out at 9e6f9ff
    from gsi_node.load import load_model, load_reward
    from gsi_node.models.pocket.world import problems
parts = {"draft": load_model("pocket:draft"), "base": load_model("pocket:base"), "reward": load_reward("pocket")}
graph = compile_gsi(**parts, config=GSIConfig(n=8, max_step_tokens=64, max_steps=12))
def run(size, at_once):
    asked = [{"problem": p.problem, "problem_id": i} for i, p in enumerate(problems("test", 0, size))]
    for part in parts.values():
        part.engine.cache.clear()
    began = time.process_time()
    found = graph.batch(asked, config={"max_concurrency": at_once})
    seconds = time.process_time() - began
    bills = [bill for out in found for bill in out["usage"].values()]
    return sum(bill["generated_tokens"] + bill["scored_tokens"] for bill in bills) / seconds
run(2, 2)
print(json.dumps([run(int(sys.argv[1]), 1), run(int(sys.argv[2]), 16)]))
"""


def measured(tree: Path, sizes: list[int]) -> list[float]:
    """Tokens a CPU second in a process of that tree: alone, and 16 at a time."""
    own = {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, "-c", WORK, *map(str, sizes)]
    done = subprocess.run(command, cwd=tree, env={**os.environ, **own}, check=True, capture_output=True, text=True)
    rates: list[float] = json.loads(done.stdout.splitlines()[-1])
    return rates


def main(arguments: list[str]) -> None:
    """Print the medians, and their ratio."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench_trees", description=__doc__)
    parser.add_argument("before", type=Path, help="the other tree")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs=2, default=[16, 64], help="problems alone, and in company")
    options = parser.parse_args(arguments)
    pairs = [
        [measured(tree.resolve(), options.sizes) for tree in (options.before, HERE)] for _ in range(options.rounds)
    ]
    for place, what in enumerate(("alone", "16 at a time")):
        before, here = (median(pair[tree][place] for pair in pairs) for tree in (0, 1))
        told = f"{before:.0f} tokens a CPU second before, {here:.0f} here, {here / before:.2f} times"
        sys.stdout.write(f"{what}: {told}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
