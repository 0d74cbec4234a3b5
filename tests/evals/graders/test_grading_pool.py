"""The grading processes: killed at the limit, replaced after a death, light, and gone when their owner is."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evals.data.problems import Problem
from evals.graders import pool
from evals.graders.grading import Grader
from evals.graders.messages import GradeRequest
from evals.graders.pool import Pool, ProcessDied, TimedOut
from gsi_node.errors import BackendUnavailable
from tests import waiting

ROOT = Path(__file__).resolve().parents[3]
FINE: GradeRequest = {"kind": "math", "meta": {}, "gold": "x + x", "predicted": "2x", "by_text": True}
LONG = [rf"x + {number} + \sum_{{k=1}}^{{500}} \sqrt{{k}}" for number in range(100)]
STUCK: GradeRequest = FINE | {
    "gold": "; ".join(LONG),
    "predicted": "; ".join(f"1 - 1 + {one}" for one in reversed(LONG)),
}
"""Every comparison is bounded; so many of them take minutes."""
PROBLEM = Problem("p", "?", "x + x", "math")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z" if Path("/proc").is_dir() else True


def gone(pid: int, seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not alive(pid)


def test_a_stuck_worker_is_killed_and_replaced() -> None:
    one = Pool(1)
    reply = one.ask(FINE, 10.0)
    assert (reply["equal"], reply["reason"]) == (True, None)
    assert 0 <= reply["spent"] < 10
    first = one.workers[0].pid
    with pytest.raises(TimedOut):
        one.ask(STUCK, 1.0)
    assert first is not None and gone(first)
    assert one.ask(FINE, 10.0)["equal"]
    assert one.workers[0].pid not in (None, first)
    one.close()


def test_a_worker_that_dies_between_or_in_requests_is_replaced() -> None:
    one = Pool(1)
    one.ask(FINE, 30)
    assert one.workers[0].pid is not None
    os.kill(one.workers[0].pid, signal.SIGKILL)
    assert gone(one.workers[0].pid)
    assert one.ask(FINE, 30)["equal"]
    one.close()


def test_a_worker_that_says_nothing_is_killed_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Pool(1)
    one.ask(FINE, 30)
    stopped = one.workers[0].pid
    assert stopped is not None
    os.kill(stopped, signal.SIGSTOP)
    monkeypatch.setattr(pool, "START_SECONDS", 0.3)
    monkeypatch.setattr(pool, "STALLED", 0.0)
    with pytest.raises(ProcessDied, match=r"the grading process said nothing for 0\.3 s"):
        one.ask(FINE, 30)
    assert gone(stopped)
    monkeypatch.undo()
    assert one.ask(FINE, 30)["equal"]
    one.close()


def test_no_worker_is_started_for_letters_and_plain_numbers() -> None:
    grader = Grader()
    for gold, kind in [("18", "math"), ("5/6", "exact"), ("1, 3", "olympiad"), ("-1,234.5", "math")]:
        assert grader.grade(Problem("p", "?", gold, kind), rf"\boxed{{{gold}}}").correct
        assert grader.grade(Problem("p", "?", gold, kind), r"\boxed{77}").correct is False
    lettered = Problem("p", "?", "C", "choice", {"choices": ["1", "2", "3"]})
    assert grader.grade(lettered, r"\boxed{c}").correct
    assert grader.grade(lettered, r"\boxed{A}").correct is False
    assert [worker.pid for worker in grader._pool.workers] == [None]


def test_a_worker_imports_neither_torch_nor_the_package_s_models() -> None:
    code = "import evals.graders.worker, evals.graders.symbolic, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    ).stdout.split()
    assert "mpmath" in loaded
    assert not {"torch", "transformers", "langgraph", "matplotlib", "reasoning_gym", "sympy"} & set(loaded)


def test_a_worker_that_cannot_start_says_how_to_find_out_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(BackendUnavailable, match=r"does not start: try `/bin/false -m evals\.graders\.worker"):
        Pool(1).ask(FINE, 5)


def test_memory_is_bounded() -> None:
    code = (
        "from evals.graders import rules, worker; worker.limit_memory(1024)\n"
        "def greedy(self, gold, predicted): return bytearray(2 << 30) and True\n"
        "rules.Rules.equal = greedy\n"
        f"print(worker.answer({FINE!r}))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    ).stdout
    assert said.strip() == str({"ungraded": "the answer takes too much memory"})


OWNER = f"""
import sys
from evals.graders.pool import Pool
one = Pool(1)
one.ask({FINE!r}, 60)
print(one.workers[0].pid, flush=True)
try:
    one.ask({STUCK!r}, SECONDS)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def owner(seconds: float) -> tuple[subprocess.Popen[str], int]:
    code = OWNER.replace("SECONDS", str(seconds))
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    time.sleep(0.5)  # it is inside the stuck request now
    return process, worker


def test_ctrl_c_in_the_middle_of_a_grade_ends_the_worker() -> None:
    process, worker = owner(300)
    process.send_signal(signal.SIGINT)
    out, _ = waiting.told(process)
    assert (out.split(), process.returncode) == (["interrupted"], 0)
    assert gone(worker)


def test_a_stuck_worker_outlives_a_killed_owner_by_seconds_only() -> None:
    process, worker = owner(2)
    process.kill()
    process.communicate(timeout=60)
    assert gone(worker)


FORKED = """
import os
from evals.graders.pool import Pool
one = Pool(1)
assert one.ask(FINE, 60)["equal"]
mine = one.workers[0].pid
child = os.fork()
if child == 0:
    assert one.ask(FINE, 60)["equal"] and one.workers[0].pid != mine
    one.close()
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert one.ask(FINE, 60)["equal"] and one.workers[0].pid == mine
print("both")
"""


def test_a_forked_process_gets_workers_of_its_own() -> None:
    code = FORKED.replace("FINE", repr(FINE))
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (out.stdout.strip(), out.stderr) == ("both", "")


def grade_one() -> None:
    with Grader(seconds=60) as grader:
        if not grader.grade(PROBLEM, r"\boxed{2x}").correct:
            raise SystemExit(3)


def test_a_daemonic_process_can_grade() -> None:
    process = multiprocessing.get_context("spawn").Process(target=grade_one, daemon=True)
    process.start()
    process.join(120)
    assert process.exitcode == 0
