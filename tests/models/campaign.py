"""python -m tests.models.campaign: what a model behind a misbehaving server does, fault by fault, as a table.

Each fault once in passing (gone after two attempts) and once lasting: for sampling and for scoring, by prompt_logprobs
and by ids, and for a chat endpoint's whole answers and streams; then solves, with a fifth of all requests failing.
test_faults.py asserts what this prints.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from gsi_node.errors import GSIError
from gsi_node.graph.build import compile_gsi
from gsi_node.models.servers.chat import ChatStepModel
from gsi_node.models.servers.dialect import Dialect
from gsi_node.models.servers.http import Transport
from gsi_node.models.servers.model import ServerModel
from gsi_node.models.servers.reach import Reach
from gsi_node.models.servers.vllm import VLLM
from gsi_node.step.config import GSIConfig
from gsi_node.tables.rewards import TableReward
from gsi_node.text.counted import CountedText
from gsi_node.text.prompt import PromptSettings
from gsi_node.text.tokens import Tokens
from gsi_node.types import Ends, Key, Prefix, SamplingLaw, Step
from tests.miniature import miniature_tokenizer
from tests.models.hostile import bomb
from tests.models.serving import KINDS, MODEL, Bigram, Faults, Server

KEY = Key(3, "p", 0, "draft")
LAW = SamplingLaw(temperature=0.7, max_step_tokens=20)
ONE = replace(LAW, temperature=1.0)
QUICK = Reach(timeout=0.4, attempts=4, first_wait=0.02, longest_wait=0.1)
PREFIX = Prefix("1+2")
NAMES = {
    "refuse": "connection reset at once",
    "reset": "reset in mid-body",
    "delay": "answer later than the timeout",
    "429": "429 with Retry-After",
    "500": "500",
    "truncate": "truncated JSON",
    "nan": "NaN log-probability",
    "missing": "missing log-probability",
    "positive": "positive log-probability",
    "infinite": "infinite log-probability",
    "boolean": "false as a log-probability",
    "few": "too few choices",
    "trickle": "a byte every 0.1 s",
    "endless": "endless body",
    "bomb": "gzip of 64 MiB in 64 KiB",
    "encoded": "brotli, not asked for",
    "deep": "JSON 500 000 deep",
    "digits": "integer of 5000 digits",
    "surrogate": "half of a character",
    "escape": "500 with terminal escapes",
    "chunks": "broken chunks",
    "head": "head of 500 kB",
    "404": "unknown model name",
    "other": "another model answers",
    "context": "context overflow",
    "400": "400",
    "403": "403",
    "204": "204",
    "redirect": "redirect",
}
NUMBERS = ("nan", "missing", "positive", "infinite", "boolean")  # of log-probabilities, which a chat tells none
NO_STREAM = ("deep", "digits", "surrogate")  # whole bodies, in which no event comes
LIMITS = "one attempt: 0.4 s; 4 attempts"
FINAL = ("404", "other", "context", "400", "403", "204", "redirect")  # asking again cannot help


def reach(
    tokens: Tokens,
    *servers: Server,
    patience: Reach = QUICK,
    dialect: Dialect | None = None,
    context: int | None = None,
) -> ServerModel:
    """A model that was not probed."""
    dialect = dialect or VLLM()
    urls = [server.url + ("/v1" if dialect.kind == "server" else "") for server in servers]
    return ServerModel(Transport(urls, patience), dialect, tokens, model=MODEL, context=context)


def chat(server: Server, *, streams: bool, patience: Reach = QUICK) -> ChatStepModel:
    """A chat endpoint that was not probed."""
    model = ChatStepModel(Transport([server.url], patience), MODEL, CountedText("chat"))
    model.streams = streams
    return model


def both(model: ServerModel) -> tuple[list[Step], Any]:
    steps = model.sample(PREFIX, 4, KEY, LAW)
    return steps, model.score(PREFIX, steps, LAW)


def solve_chats(rate: float) -> tuple[list[Any], Counter[str]]:
    """Texts and sources of 20 solves by two chat endpoints, a share of whose attempts fail, and the faults."""
    patience = Reach(timeout=1.0, attempts=12, first_wait=0.01, longest_wait=0.1)
    config = GSIConfig(method="rsd-n", n=2, delta=0.1, max_steps=4)
    reward = TableReward(lambda prefix, step: step.text.count("1") / len(step.text), name="ones")
    kinds = tuple(kind for kind in KINDS if kind not in (*NUMBERS, "delay"))
    with Server(Bigram(12, [3])) as server:
        server.faults = Faults(rate=rate, kinds=kinds)
        models = [chat(server, streams=streams, patience=patience) for streams in (True, False)]
        graph = compile_gsi(draft=models[0], base=models[1], reward=reward, config=config)
        results = graph.batch([{"problem": f"{i}+1"} for i in range(20)], {"max_concurrency": 8})
        for model in models:
            model.close()
        return [[(s["text"], s["source"]) for s in result["steps"]] for result in results], server.faults.happened


def solve(tokens: Tokens, draft: Server, base: Server, workers: int, problems: Sequence[str]) -> list[Any]:
    """Token ids, sources and log-ratios of every step of every solve."""
    patience = Reach(timeout=1.0, attempts=12, first_wait=0.01, longest_wait=0.1)
    config = GSIConfig(n=2, beta=4.0, threshold=0.2, max_steps=2, max_step_tokens=6, max_log_ratio_error=9.0)
    reward = TableReward(lambda prefix, step: 1.0 / (1 + len(step.token_ids)), name="short")
    with reach(tokens, draft, patience=patience) as small, reach(tokens, base, patience=patience) as large:
        small.top_k = large.top_k = 4
        graph = compile_gsi(draft=small, base=large, reward=reward, config=config)
        results = graph.batch([{"problem": problem} for problem in problems], {"max_concurrency": workers})
    return [
        [(s["token_ids"], s["source"], s["log_ratio"], s["log_ratio_error"]) for s in result["steps"]]
        for result in results
    ]


def solve_twice(tokens: Tokens, count: int) -> tuple[list[Any], list[Any], Any]:
    """`count` solves without faults, the same with a fifth of all attempts failing, and how often which fault came."""
    problems = [f"{i}+1" for i in range(count)]
    draft_model = Bigram(tokens.size, tokens.step_ends(SamplingLaw()).sure_ids, seed=1)
    base_model = Bigram(tokens.size, tokens.step_ends(SamplingLaw()).sure_ids, seed=1, spread=2.05)
    with Server(draft_model) as draft, Server(base_model) as base:
        wanted = solve(tokens, draft, base, 16, problems)
        for server in (draft, base):
            server.faults = Faults(rate=0.2, delay=1.2)
        found = solve(tokens, draft, base, 16, problems)
        return wanted, found, draft.faults.happened + base.faults.happened


def by_ids(model: ServerModel, server: Server) -> ServerModel:
    """The model, scoring by ids as if it had been probed."""
    server.generating.on, server.generating.block = True, 1 << 20
    model.by_ids = model.id_scorer()
    return model


class Subject(NamedTuple):
    """Something that meets the faults. opened: its model and what is asked of it; final: where asking again cannot
    help. without: the faults that it cannot meet."""

    name: str
    opened: Callable[[Server, Tokens], tuple[Any, list[Callable[[], Any]]]]
    final: Collection[str] = FINAL
    without: Collection[str] = ()


def _completions(server: Server, tokens: Tokens) -> tuple[Any, list[Callable[[], Any]]]:
    model = reach(tokens, server)
    steps = model.sample(PREFIX, 4, KEY, LAW)
    return model, [lambda: model.sample(PREFIX, 4, KEY, LAW), lambda: model.score(PREFIX, steps, LAW)]


def _scored_by_ids(server: Server, tokens: Tokens) -> tuple[Any, list[Callable[[], Any]]]:
    model = by_ids(reach(tokens, server), server)
    steps = model.sample(PREFIX, 1, KEY, ONE)
    return model, [lambda: model.score(PREFIX, steps, ONE)]


def _said(streams: bool, server: Server, tokens: Tokens) -> tuple[Any, list[Callable[[], Any]]]:
    model = chat(server, streams=streams)
    return model, [lambda: model.sample(PREFIX, 2, KEY, SamplingLaw(ends=Ends(())))]


SUBJECTS = (
    Subject("sampling and scoring by /v1/completions", _completions),
    Subject("scoring by ids, /inference/v1/generate", _scored_by_ids),
    Subject("a chat endpoint's whole answers", partial(_said, False), without=NUMBERS),
    Subject("a chat endpoint's streams", partial(_said, True), (*FINAL, *NO_STREAM), NUMBERS),
)


def _row(subject: Subject, fault: str, tokens: Tokens) -> list[str]:
    with Server(Bigram(tokens.size, tokens.step_ends(SamplingLaw()).sure_ids)) as server:
        model, calls = subject.opened(server, tokens)
        with model:
            wanted = [call() for call in calls]
            passing = "–"
            if fault not in subject.final:
                server.faults = Faults(plan=[fault, fault, "", fault, fault, ""], delay=0.8)
                found = [call() for call in calls]
                passing = "same result" if found == wanted else "ANOTHER RESULT"
            ends = [_end(call, server, fault) for call in calls]
    names = dict.fromkeys(name for name, _, _ in ends)
    attempts = max(tries for _, tries, _ in ends)
    return [NAMES[fault], passing, " / ".join(names), str(attempts), f"{max(seconds for *_, seconds in ends):.2f}"]


def _end(call: Callable[[], object], server: Server, fault: str) -> tuple[str, int, float]:
    """The error that a lasting fault ends in, after how many attempts and seconds."""
    server.faults, before, started = Faults(plan=[fault] * 99, delay=0.8), server.requests, time.monotonic()
    try:
        call()
    except GSIError as error:
        return type(error).__name__, server.requests - before, time.monotonic() - started
    return "NO ERROR", server.requests - before, time.monotonic() - started


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 1 where a fault changed a result or passed unnoticed."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.models.campaign", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--solves", type=int, default=200, help="solves with a fifth of all requests failing")
    options = parser.parse_args(argv)
    console = Console(width=118)
    with tempfile.TemporaryDirectory() as folder:
        miniature_tokenizer().save_pretrained(folder)
        tokens = Tokens.of_folder(folder, "campaign", PromptSettings(template="{problem}"))
        bomb()  # takes its time, once
        rows = {
            subject.name: [_row(subject, fault, tokens) for fault in NAMES if fault not in subject.without]
            for subject in SUBJECTS
        }
        wanted, found, happened = solve_twice(tokens, options.solves)
    for name, lines in rows.items():
        table = Table("fault", "in passing", "lasting", "attempts", "seconds at most", title=f"{name}: {LIMITS}")
        for row in lines:
            table.add_row(*row)
        console.print(table)
    equal = sum(a == b for a, b in zip(wanted, found, strict=True))
    failed = sum(count for kind, count in happened.items() if kind)
    kinds = ", ".join(f"{happened[kind]} {kind}" for kind in KINDS)
    console.print(
        f"{equal} of {options.solves} solves, 16 at a time, end with the token ids, sources, log-ratios and bounds "
        f"of the run without faults; {failed} of {happened.total()} requests failed "
        f"({failed / happened.total():.1%}: {kinds})"
    )
    chats, (said, met) = solve_chats(0.0)[0], solve_chats(0.2)
    alike = sum(a == b for a, b in zip(chats, said, strict=True))
    console.print(
        f"{alike} of {len(chats)} solves by two chat endpoints, one of which streams, 8 at a time, end with the texts "
        f"and sources of the run without faults; {met.total() - met['']} of {met.total()} requests failed"
    )
    words = [word for lines in rows.values() for row in lines for word in row]
    bad = equal < options.solves or alike < len(chats) or {"ANOTHER RESULT", "NO ERROR"} & set(words)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
