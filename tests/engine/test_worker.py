"""The engine's thread through what could leave a caller waiting: forks, exits, broken devices, lost memory."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gsi_node.ends import StepEnds
from gsi_node.engine import budget
from gsi_node.engine.batch import Batch
from gsi_node.engine.decode import Decoder
from gsi_node.engine.requests import SampleRequest
from gsi_node.engine.runner import Runner
from gsi_node.models.transformers import TransformersModel
from gsi_node.types import Ends, Key, Prefix, SamplingLaw, Step
from tests.miniature import Miniatures

LAW = SamplingLaw(max_step_tokens=20)
ENDLESS = StepEnds(Ends(()), [b"x"] * 20, ())
STEPS = [Step("", (9, 10 + i, 11, 6), 0.0, False) for i in range(8)]
CHILD = """
import asyncio, os, signal, sys, threading, time
from gsi_node.models.transformers import TransformersModel
from gsi_node.types import Ends, Key, Prefix, SamplingLaw

model = TransformersModel.from_pretrained(sys.argv[1])
endless = SamplingLaw(max_step_tokens=230, ends=Ends(()), eos_ids=())

def drawn():
    asked = model.asample(Prefix("1"), 2, Key(0, "x", 0, "draft"), SamplingLaw(max_step_tokens=5))
    return [step.token_ids for step in asyncio.run(asked)]

def at_work():
    while True:
        model.sample(Prefix("1"), 16, Key(0, "x", 0, "draft"), endless)

wanted = drawn()
child = os.fork()
if not child:
    signal.alarm(30)
    os._exit(0 if drawn() == wanted else 3)
assert os.waitpid(child, 0)[1] == 0, "the forked child failed or hung"
threading.excepthook = lambda told: None
threading.Thread(target=at_work, daemon=True).start()
while not model.engine.schedule.decoder.parts:
    time.sleep(0.001)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_works_and_an_exit_in_the_middle_is_clean(miniatures: Miniatures) -> None:
    """A thread torn off inside of torch would abort the process; a child would wait for a thread it does not have."""
    command = [sys.executable, "-W", "ignore", "-c", CHILD, str(miniatures.folder())]
    settings = {
        **os.environ,
        "TOKENIZERS_PARALLELISM": "true",
    }  # unset, tokenizers 0.22 tells of the fork
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=root, env=settings)
    assert (done.returncode, done.stderr) == (0, "")


def asked(model: TransformersModel) -> SampleRequest:
    """A request that waits in the queue."""
    request = SampleRequest((3, 4), 2, Key(0, "q", 0, "draft"), LAW, limit=4, ends=ENDLESS, size=20)
    model.engine.worker.submit(request)
    return request


def test_callers_hear_of_a_device_that_is_gone(miniatures: Miniatures, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some CUDA errors every allocation fails, those of the clearing up too."""
    model = miniatures.language()

    def gone(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("the device is gone")

    with monkeypatch.context() as patch:
        patch.setattr(Runner, "contexts", gone)
        patch.setattr(Decoder, "__init__", gone)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="the device is gone"):
                asked(model).future.result(10)
    assert len(asked(model).future.result(10)) == 2


def test_a_thread_that_cannot_start_fails_one_caller(miniatures: Miniatures, monkeypatch: pytest.MonkeyPatch) -> None:
    model = miniatures.language()

    def full(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", full)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            asked(model)
    assert model.engine.worker.waiting == 0
    assert len(asked(model).future.result(10)) == 2


def test_memory_that_runs_out_while_outputs_are_read(miniatures: Miniatures, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits are large: reading fails as forwards do, after some rows perhaps, and rows read twice count once."""
    model = miniatures.language(dtype="float64")
    prefix = Prefix("1")
    wanted = model.score(prefix, STEPS, LAW)
    laws = model.next_log_probs(prefix, [(9,), (9, 10)], [0, 1], LAW)
    real, tight = Runner.harvest, [True]

    def harvest(self: Runner, *args: Any) -> None:
        real(self, *args)
        if tight:
            tight.pop()
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Runner, "harvest", harvest)
    found = model.score(prefix, STEPS, LAW)
    assert [s.log_prob for s in found] == pytest.approx([s.log_prob for s in wanted], abs=1e-9)
    tight.append(True)
    again = model.next_log_probs(prefix, [(9,), (9, 10)], [0, 1], LAW)
    assert all(a == pytest.approx(b, abs=1e-9) for a, b in zip(again, laws, strict=True))

    sizes: list[int] = []

    def read(logits: Tensor, which: range) -> None:
        sizes.append(len(which))
        if len(which) > 3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    model.engine.continuations((3, 4, 5), [(5, 6 + i) for i in range(8)], read)
    assert sizes == [8, 4, 2, 2, 4, 2, 2]


def test_a_failed_forward_lets_go_before_the_next(miniatures: Miniatures, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it had allocated hangs on the error's traceback, and the halves would meet it."""
    model = miniatures.language()
    real, feed, held = Runner.release, Runner.feed, []

    def failing(self: Runner, batch: Batch, ids: Tensor, *, last: bool) -> Tensor:
        activations = torch.zeros(3)
        if len(ids) > 4:
            held.append(weakref.ref(activations))
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return feed(self, batch, ids, last=last)

    def release(self: Runner) -> None:
        assert held[-1]() is None
        real(self)

    monkeypatch.setattr(Runner, "feed", failing)
    monkeypatch.setattr(Runner, "release", release)
    assert len(model.score(Prefix("1"), STEPS, LAW)) == len(model.sample(Prefix("1"), 8, Key(0, "", 0, "draft"), LAW))
    assert len(held) == 2


def test_memory_that_runs_out_while_a_request_joins(miniatures: Miniatures, monkeypatch: pytest.MonkeyPatch) -> None:
    model = miniatures.language(dtype="float64")
    wanted = [step.token_ids for step in model.sample(Prefix("1"), 8, Key(0, "", 0, "draft"), LAW)]
    real = Batch.changed

    def changed(self: Batch) -> None:
        if any(len(group.live) > 4 for group in self.groups):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        real(self)

    monkeypatch.setattr(Batch, "changed", changed)
    assert [step.token_ids for step in model.sample(Prefix("1"), 8, Key(0, "", 0, "draft"), LAW)] == wanted


def test_a_halved_bound_recovers(miniatures: Miniatures, monkeypatch: pytest.MonkeyPatch) -> None:
    model = miniatures.language(options={"batch_bytes": 1 << 20})
    monkeypatch.setattr(budget, "CALM", 3)
    model.engine.runner.budget.bytes = 1 << 18
    bounds = []
    for _ in range(12):
        model.engine.continuations((3, 4, 5), [(5, 6)], lambda logits, which: None)
        bounds.append(model.engine.runner.budget.bytes)
    assert sorted(set(bounds)) == [1 << 18, 1 << 19, 1 << 20]
    assert bounds[-1] == 1 << 20
