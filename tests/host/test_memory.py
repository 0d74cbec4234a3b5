"""Freed memory that lies between what is still in use goes back to the system, and not too often."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from typing import Any

import pytest

from gsi_node.engine import worker
from gsi_node.host import memory
from gsi_node.host.memory import EVERY, Returning
from gsi_node.models.transformers import TransformersModel
from gsi_node.specs.load import load_model
from gsi_node.types import Key, Prefix, SamplingLaw

GLIBC = hasattr(ctypes.CDLL(None), "malloc_trim")
HEAP = """
import time
from gsi_node.host import memory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6

start, returning = resident(), memory.Returning()
small, large = [], []
for _ in range(1000):  # 100 kB are below what malloc asks the system for by itself
    large.append(bytearray(100_000))
    small.append(bytearray(1000))
large.clear()
freed = resident()
returning.now_and_then()
early = resident()
returning._due = time.monotonic()
returning.now_and_then()
print(start, freed, early, resident())
"""


@pytest.mark.skipif(not GLIBC, reason="this C library has no malloc_trim")
def test_what_lies_between_small_blocks_is_given_back_when_it_is_time() -> None:
    done = subprocess.run([sys.executable, "-c", HEAP], capture_output=True, text=True, check=True)
    start, freed, early, late = map(float, done.stdout.split())
    assert freed > start + 80  # MB: this is what is to be mended
    assert early > start + 80
    assert late < start + 20


def test_at_most_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now, trims = [1000.0], []
    monkeypatch.setattr(memory, "monotonic", lambda: now[0])
    returning = Returning()
    monkeypatch.setattr(returning, "_trim", lambda pad: trims.append(now[0]))
    for second in range(0, 1000, 10):
        now[0] = 1000.0 + second
        returning.now_and_then()
    assert trims == [1000 + EVERY, 1000 + 2 * EVERY, 1000 + 3 * EVERY]
    monkeypatch.setattr(returning, "_trim", None)
    now[0] += 2 * EVERY
    returning.now_and_then()


def test_the_thread_of_a_model_gives_it_back_between_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the thread ends between requests, as it does while another model works."""
    made: list[Any] = []

    class Counted(Returning):
        def __init__(self) -> None:
            super().__init__()
            self.turns = 0
            made.append(self)

        def now_and_then(self) -> None:
            self.turns += 1

    monkeypatch.setattr(worker, "Returning", Counted)
    model = load_model("pocket:draft")
    assert isinstance(model, TransformersModel)
    model.sample(Prefix("1+1"), 2, Key(0, "p", 0, "draft"), SamplingLaw())
    turns = made[0].turns
    assert turns > 0
    model.engine.worker.end()
    model.sample(Prefix("1+2"), 2, Key(0, "p", 0, "draft"), SamplingLaw())
    assert len(made) == 1 and made[0].turns > turns
