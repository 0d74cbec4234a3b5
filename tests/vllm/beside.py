"""A model in process beside a vLLM server of the same on the same cores, in turns; then whole runs of GSI both ways.

    GSI_VLLM_PYTHON=.venv-vllm/bin/python python -m tests.vllm.beside DRAFT BASE --rows 16,32,64,96 --prefix 268,1024

DRAFT and BASE are folders. Tokens a second (medians) of drafting n candidates of 40 tokens with DRAFT: in process as a
tree, with a row a candidate, by vLLM as GSI asks it, and by vLLM asked for nothing but text. Of scoring them, at the
first number of rows. Then seconds a committed token of runs over shipped problems, both models here and both there.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import torch
from rich.console import Console
from rich.table import Table

from gsi_node import GSIConfig, Key, Prefix, compile_gsi
from gsi_node.pocket.world.problems import problems
from gsi_node.positions import positions
from gsi_node.specs.load import load_model, load_reward
from gsi_node.tools.bench_forwards import TOKENS
from gsi_node.tools.step_parts import StepSize, problem_of
from tests.vllm.conftest import VARIABLE
from tests.vllm.servers import Fleet, VLLMServer

HEADS = (
    *("what", "prefix", "n", "distinct", "tree", "a row each", "vLLM", "vLLM, bare"),
    *("tree / vLLM", "tree / bare", "rows / vLLM", "rows / bare"),
)


class Beside:
    """One model in process and behind a server."""

    def __init__(self, folder: Path, server: VLLMServer, dtype: str, repeats: int) -> None:
        self.here: Any = load_model(f"hf:{folder}?dtype={dtype}")
        self.there: Any = load_model(f"server:{server.url}/v1#{server.name}?tokenizer={folder}&timeout=600")
        self.url, self.name, self.repeats = server.url, server.name, repeats

    def drawn(self, prefix: int, n: int) -> list[str]:
        """Tokens a second of drafting, each way, and ours over vLLM's."""
        start, law = Prefix(problem_of(self.here, prefix)), StepSize(n, prefix, TOKENS).law
        shares: list[float] = []

        def tree(number: int) -> int:
            steps = self.here.sample(start, n, Key(number, "beside", 0, "draft"), law)
            shares.append(positions(step.token_ids for step in steps) / (n * TOKENS))
            return _tokens(steps)

        def apart(number: int) -> int:
            decoder = self.here.engine.schedule.decoder
            decoder._tree = False
            try:
                return _tokens(self.here.sample(start, n, Key(number, "beside", 0, "draft"), law))
            finally:
                decoder._tree = True

        def served(number: int) -> int:
            return _tokens(self.there.sample(start, n, Key(number, "beside", 0, "draft"), law))

        found = self._in_turns((tree, apart, served, lambda number: self._bare(start, n, number)))
        ratios = [mine / other for mine in found[:2] for other in found[2:]]
        share = f"{statistics.mean(shares):.2f}"
        return ["draft", str(prefix), str(n), share, *(f"{x:.0f}" for x in found), *(f"{x:.2f}" for x in ratios)]

    def scored(self, prefix: int, n: int) -> list[str]:
        """Tokens a second of scoring, and ours over vLLM's."""
        start, law = Prefix(problem_of(self.here, prefix)), StepSize(n, prefix, TOKENS).law
        steps = self.here.sample(start, n, Key(0, "beside", 0, "given"), law)

        def by(model: Any) -> Callable[[int], int]:
            return lambda number: _tokens(steps) if model.score(start, steps, law) else 0

        here, there = self._in_turns((by(self.here), by(self.there)))
        return ["score", str(prefix), str(n), "", f"{here:.0f}", "", f"{there:.0f}", "", f"{here / there:.2f}"]

    def _in_turns(self, ways: Sequence[Callable[[int], int]]) -> list[float]:
        """Median tokens a second of each, behind a round that is not counted."""
        rates: list[list[float]] = [[] for _ in ways]
        for number in range(self.repeats + 1):
            for way, found in zip(ways, rates, strict=True):
                began = time.perf_counter()
                tokens = way(number)
                found.append(tokens / (time.perf_counter() - began))
        return [statistics.median(found[1:]) for found in rates]

    def _bare(self, start: Prefix, n: int, number: int) -> int:
        """Text alone, no log-probabilities."""
        asked = {"model": self.name, "prompt": list(self.here.prefix_ids(start)), "n": n, "seed": number + 1}
        asked |= {"max_tokens": TOKENS, "temperature": 0.7, "ignore_eos": True}
        answer = httpx.post(f"{self.url}/v1/completions", json=asked, timeout=600, trust_env=False)
        return int(answer.raise_for_status().json()["usage"]["completion_tokens"])


def _tokens(steps: Sequence[Any]) -> int:
    return sum(len(step.token_ids) for step in steps)


def runs(pairs: Sequence[dict[str, Any]], size: int, n: int) -> list[float]:
    """Seconds a committed token of GSI with each pair of models, over `size` problems in turns, one to warm up."""
    config = GSIConfig(n=n, max_step_tokens=TOKENS, max_tokens=4 * TOKENS)
    graphs = [compile_gsi(**pair, reward=load_reward("verifier?prior=0.7"), config=config) for pair in pairs]
    spent, committed = [0.0] * len(graphs), [0] * len(graphs)
    for number, problem in enumerate(problems("test", 0, size + 1)):
        for way, graph in enumerate(graphs):
            began = time.perf_counter()
            out = graph.invoke({"problem": problem.problem, "problem_id": number})
            if number:
                spent[way] += time.perf_counter() - began
                committed[way] += sum(len(step["token_ids"]) for step in out["steps"])
    return [seconds / tokens for seconds, tokens in zip(spent, committed, strict=True)]


def main() -> None:
    """Prints the table, then what whole runs took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("draft", type=Path)
    parser.add_argument("base", type=Path)
    parser.add_argument("--rows", default="16,32,64,96")
    parser.add_argument("--prefix", default="268,1024")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--runs", type=int, default=4, help="problems of the whole runs (default 4; 0: none)")
    parser.add_argument("--n", type=int, default=4, help="candidates a step of the whole runs")
    asked = parser.parse_args()
    python = os.environ.get(VARIABLE)
    if not python:
        sys.exit(f"{VARIABLE} names no environment with vLLM: `make test-vllm` makes one (3.4 GB)")
    logs, options = Path(tempfile.mkdtemp(prefix="beside-")), ["--max-model-len", "2048", "--dtype", asked.dtype]
    say = Console(width=160).print
    with Fleet([VLLMServer(Path(python), asked.draft, "draft", logs / "draft.log", *options)]) as fleet:
        [server] = fleet.servers
        beside = Beside(asked.draft, server, asked.dtype, asked.repeats)
        made = Table(*HEADS, title=f"tokens a second, {TOKENS} tokens a row, {torch.get_num_threads()} threads")
        for prefix in map(int, asked.prefix.split(",")):
            sizes = list(map(int, asked.rows.split(",")))
            for n in sizes:
                made.add_row(*beside.drawn(prefix, n))
            made.add_row(*beside.scored(prefix, sizes[0]))
        say(made)
        if not asked.runs:
            return
        with Fleet([VLLMServer(Path(python), asked.base, "base", logs / "base.log", *options)]) as other:
            [larger] = other.servers
            bases = Beside(asked.base, larger, asked.dtype, asked.repeats)
            pairs = [{"draft": beside.here, "base": bases.here}, {"draft": beside.there, "base": bases.there}]
            here, there = runs(pairs, asked.runs, asked.n)
            told = f"GSI, n = {asked.n}, {asked.runs} problems, seconds a committed token:"
            say(f"{told} {here:.3f} here, {there:.3f} over vLLM")


if __name__ == "__main__":
    main()
