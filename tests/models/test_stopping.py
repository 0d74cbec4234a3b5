"""Ctrl-C and cancelling, while a server does not answer: every client stops, and the next run finds it free."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from gsi_node.cancel import iterate_interruptible, run_cancellable
from gsi_node.models.servers.http import Transport
from gsi_node.models.servers.model import ServerModel
from gsi_node.models.servers.reach import Reach
from gsi_node.models.servers.vllm import VLLM
from gsi_node.specs.load import load_reward
from gsi_node.text.prompt import PromptSettings
from gsi_node.text.tokens import Tokens
from gsi_node.types import WIRE, Key, Prefix, SamplingLaw, Step
from tests.miniature import miniature_tokenizer
from tests.models.raw import Asked, RawServer, answered
from tests.rewards.family_models import build_family

ROOT = Path(__file__).resolve().parents[2]
PREFIX = Prefix("1+1")
STEPS = [Step("2.", (1,), 0.0, False)]
LAW = SamplingLaw(temperature=1.0, max_step_tokens=2)
SOON = 5.0
"""Seconds, with eight other things on the machine; alone it is less than one. The deadline of the requests is 300."""


class Silent:
    """A server that answers, but while `holding` leaves each request that comes without an answer."""

    def __init__(self) -> None:
        self.holding, self.over, self.held = False, threading.Event(), 0

    def __call__(self, asked: Asked) -> None:
        if self.holding and asked.head.startswith("POST"):
            self.held += 1
            self.over.wait(120)
        about = {"wire": WIRE, "name": "r", "role": "reward", "vocabulary": "", "eos_ids": [], "range": [0.0, 1.0]}
        asked.say({**about, **answered(asked), "fingerprint": "f", "rewards": [0.5]})

    def wait(self, requests: int = 1) -> None:
        """Until so many requests are left without an answer."""
        until = time.monotonic() + 60
        while self.held < requests:
            assert time.monotonic() < until, f"{self.held} of {requests} requests came"
            time.sleep(0.01)


@pytest.fixture
def silent() -> Iterator[tuple[Silent, RawServer]]:
    answers = Silent()
    with RawServer(answers) as server:
        yield answers, server
        answers.over.set()


Client = tuple[Callable[[], Any], Callable[[], Coroutine[Any, Any, Any]], Callable[[], None]]


def client(kind: str, server: RawServer, folder: Path) -> Client:
    """A request as a sync and as an async caller makes it, and how the client is closed."""
    if kind == "model":
        miniature_tokenizer().save_pretrained(folder)
        tokens = Tokens.of_folder(str(folder), "test", PromptSettings(template="{problem}"))
        model = ServerModel(Transport([server.url], Reach()), VLLM(), tokens, model="m")
        key = Key(0, "p", 0, "draft")
        return lambda: model.sample(PREFIX, 1, key, LAW), lambda: model.asample(PREFIX, 1, key, LAW), model.close
    specs = {
        "judge": f"judge:{server.url}/v1#m",
        "served": f"server:{server.url}/v1#m@trl?tokenizer={build_family(folder, 'trl') if kind == 'served' else ''}",
        "remote": f"remote:{server.url}",
        "ensemble": f"ensemble:judge:{server.url}/v1#m|verifier",
    }
    reward: Any = load_reward(specs[kind])
    inner = reward.members[0] if kind == "ensemble" else reward
    return lambda: reward(PREFIX, STEPS), lambda: reward.acall(PREFIX, STEPS), inner.close


KINDS = ["judge", "served", "remote", "ensemble", "model"]


@pytest.mark.parametrize("kind", KINDS)
def test_cancelled_runs_leave_the_client_free(kind: str, silent: tuple[Silent, RawServer], tmp_path: Path) -> None:
    """More at a time than there are threads; and asyncio.run, which waits for its threads, ends."""
    answers, server = silent
    _, later, close = client(kind, server, tmp_path)

    async def cancelled() -> float:
        answers.holding = True
        tasks = [asyncio.ensure_future(later()) for _ in range(150)]
        await asyncio.to_thread(answers.wait, 120)
        started = time.monotonic()
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended)
        answers.holding = False
        await later()
        return started

    started = asyncio.run(cancelled())
    assert time.monotonic() - started < SOON
    close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_thread_under_a_flag_stops(kind: str, silent: tuple[Silent, RawServer], tmp_path: Path) -> None:
    answers, server = silent
    now, _, close = client(kind, server, tmp_path)
    stopped = threading.Event()

    def work() -> None:
        try:
            now()
        finally:
            stopped.set()

    async def cancelled() -> None:
        answers.holding = True
        task = asyncio.ensure_future(run_cancellable(work))
        await asyncio.to_thread(answers.wait)
        task.cancel()
        assert await asyncio.to_thread(stopped.wait, SOON)

    asyncio.run(cancelled())
    close()


RUN = """
import sys
from gsi_node import GSIConfig, compile_gsi, load_reward
from tests.graph import world

if __name__ == "__main__":
    gsi = compile_gsi(**{**world.models(), "reward": load_reward(sys.argv[1])}, config=GSIConfig(n=3))
    problems = [{"problem": str(i)} for i in range(20)]
    print("ready", flush=True)
    try:
        {
            "batch": lambda: gsi.batch(problems, config={"max_concurrency": 8}),
            "invoke": lambda: gsi.invoke(problems[0]),
            "stream": lambda: list(gsi.stream(problems[0], stream_mode="custom")),
        }[sys.argv[2]]()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


def interrupted(arguments: list[str], answers: Silent) -> tuple[int, float, str]:
    """The exit code of a command that gets Ctrl-C once its server is silent, seconds until it says that it was
    interrupted (after that an interpreter with torch takes its time), all of its words."""
    answers.holding = True
    process = subprocess.Popen(
        [sys.executable, "-u", *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        answers.wait(1)
        time.sleep(0.2)
        started, seconds, words = time.monotonic(), 60.0, ""
        process.send_signal(signal.SIGINT)
        overdue = threading.Timer(60.0, process.kill)
        overdue.start()
        assert process.stdout is not None
        for line in process.stdout:
            words += line
            if "interrupted" in line:
                seconds = time.monotonic() - started
        overdue.cancel()
        return process.wait(60), seconds, words
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("call", ["batch", "invoke", "stream"])
def test_ctrl_c_ends_a_script(call: str, silent: tuple[Silent, RawServer]) -> None:
    answers, server = silent
    code, seconds, words = interrupted(["-c", RUN, f"judge:{server.url}/v1#m", call], answers)
    assert (code, words.split()) == (0, ["ready", "interrupted"])
    assert seconds < SOON


def test_ctrl_c_ends_the_solver(silent: tuple[Silent, RawServer]) -> None:
    answers, server = silent
    models = ["--draft", "pocket:draft", "--base", "pocket:base", "--n", "2"]
    command = ["graphs/math_solver.py", *models, "--reward", f"judge:{server.url}/v1#m", "1+1"]
    code, seconds, words = interrupted(command, answers)
    assert code == 130 and "Traceback" not in words, words
    assert seconds < SOON


def test_items_are_made_in_one_context_and_closed_with_it() -> None:
    closed = []

    def items() -> Generator[int, None, None]:
        try:
            yield from range(3)
        finally:
            closed.append(threading.current_thread())

    made = iterate_interruptible(items())
    assert [next(made), next(made)] == [0, 1]
    made.close()
    assert closed == [threading.main_thread()]
    assert list(iterate_interruptible(items())) == [0, 1, 2]
