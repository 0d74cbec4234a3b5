"""A checkpointer slower than the run: its calls queue up in LangGraph's pool, and the run ends, every step kept."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import time
from langgraph.checkpoint.memory import InMemorySaver
from tests.graph.world import compiled, thread

class Slow(InMemorySaver):
    def put(self, *args):
        time.sleep(0.02)
        return super().put(*args)
    def put_writes(self, *args, **kwargs):
        time.sleep(0.02)
        return super().put_writes(*args, **kwargs)

wanted = compiled().invoke({"problem": "p"})
graph = compiled(checkpointer=Slow())
for _ in range(3):
    assert graph.invoke({"problem": "p"}, {**thread(), **LIMITS})["steps"] == wanted["steps"]
assert graph.get_state(thread()).values["steps"] == wanted["steps"]
"""


@pytest.mark.parametrize("limits", ["{}", "{'max_concurrency': 2}"])
def test_a_slow_saver_delays_the_run_and_no_more(limits: str) -> None:
    """In a process of its own: a run that hangs here cannot be interrupted (LangGraph 1.2.13 and 1.2.14 hang)."""
    code = f"LIMITS = {limits}\n{CODE}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
