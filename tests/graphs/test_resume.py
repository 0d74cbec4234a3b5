"""A checkpointed run that stops in the middle goes on inside each sample, and ends as if it had never stopped."""

from __future__ import annotations

import itertools
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from gsi_node.errors import BackendError, ResumeMismatch
from gsi_node.graph.solver.math_solver import Solve
from gsi_node.types import default_id
from tests import waiting
from tests.graphs.tables import SETTINGS, STEPS, command, compiled, models
from tests.graphs.test_solver import ROOT, untimed

THREAD: Any = {"configurable": {"thread_id": "t"}}
GIVEN = {"problem": "two", "n_samples": 3}
OPTIONS = ["--n", "3", "--beta", "4", "--threshold", "0.6", "--samples", "3"]
WHOLE = compiled().invoke(GIVEN)


def broken(index: int, step: int) -> dict[str, Any]:
    """Models whose draft fails at one step of one sample."""
    parts = models()
    parts["draft"].fail_at = (default_id("two") + (f"/{index}" if index else ""), step)
    return parts


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize(("index", "step"), [(0, 0), (1, 2), (2, STEPS)])
def test_after_an_exception_only_the_rest_is_run(index: int, step: int, durability: str) -> None:
    saver = InMemorySaver()
    with pytest.raises(BackendError, match="broke"):
        compiled(broken(index, step), saver).invoke(GIVEN, THREAD, durability=durability)
    parts = models()
    result = compiled(parts, saver).invoke(None, THREAD)
    assert untimed(result) == untimed(WHOLE)
    name = default_id("two") + (f"/{index}" if index else "")
    asked = [key.step for key in parts["draft"].asked if key.problem_id == name]
    assert min(asked) == step  # not from the sample's beginning


async def test_after_an_exception_async() -> None:
    saver = InMemorySaver()
    with pytest.raises(BackendError):
        await compiled(broken(1, 2), saver).ainvoke(GIVEN, THREAD)
    parts = models()
    assert untimed(await compiled(parts, saver).ainvoke(None, THREAD)) == untimed(WHOLE)
    assert next(key.step for key in parts["draft"].asked if key.problem_id.endswith("/1")) == 2


def test_a_crash_between_a_samples_end_and_its_record_asks_no_model_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(self: Solve, task: Any, result: Any) -> Any:
        raise RuntimeError("crashed")

    saver = InMemorySaver()
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="crashed"):
        patch.setattr(Solve, "_sample", crash)
        compiled(checkpointer=saver).invoke(GIVEN, THREAD)
    parts = models()
    assert untimed(compiled(parts, saver).invoke(None, THREAD)) == untimed(WHOLE)
    finished = {key.problem_id for key in parts["draft"].asked}
    assert len(finished) < 3  # the sample that crashed first had ended, and was only read


def test_other_settings_are_refused_inside_a_sample() -> None:
    saver = InMemorySaver()
    with pytest.raises(BackendError):
        compiled(broken(1, 2), saver).invoke(GIVEN, THREAD)
    with pytest.raises(ResumeMismatch, match="beta"):
        compiled(checkpointer=saver, config=SETTINGS.model_copy(update={"beta": 5.0})).invoke(None, THREAD)


@pytest.mark.parametrize("write", [60, 110, 126])
def test_a_step_is_shown_once_wherever_the_file_broke(
    write: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Saved writes whose checkpoint was not: langgraph 1.2.15 tells their steps again, later ones do not."""
    again = [*OPTIONS, "--checkpoint", str(tmp_path / "runs.sqlite"), "--thread", "t", "two"]
    writes = itertools.count(1)

    def breaking(name: str) -> Any:
        real = getattr(AsyncSqliteSaver, name)

        async def save(self: AsyncSqliteSaver, *given: Any, **more: Any) -> Any:
            saved = await real(self, *given, **more)
            if next(writes) >= write:
                raise BackendError("the file broke")
            return saved

        return save

    with monkeypatch.context() as patch:
        for name in ("aput", "aput_writes"):
            patch.setattr(AsyncSqliteSaver, name, breaking(name))
        assert command(again, models()) == 1
    assert "the file broke" in capsys.readouterr().err
    assert command(again, models()) == 0
    shown = [line for line in capsys.readouterr().out.splitlines() if re.match(r"[#012 345]*[✓↻]", line)]
    assert len(shown) == sum(len(sample["steps"]) for sample in WHOLE["samples"])


def killed(file: Path, number: int, steps: int) -> tuple[int, str]:
    """Send a signal to a slow run once it has shown some steps; its exit code and standard error."""
    argv = [*OPTIONS, "--checkpoint", str(file), "--thread", "t", "two"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.graphs.tables", "0.15", *argv],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    shown = 0
    while shown < steps:
        line = process.stdout.readline()
        assert line, "the run ended before its signal"
        shown += "✓" in line or "↻" in line
    process.send_signal(number)
    errors = waiting.told(process)[1]
    return process.returncode, errors


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_after_a_signal_the_same_command_ends_with_the_same_token_ids(
    tmp_path: Path, number: int, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "runs.sqlite"
    returned, errors = killed(file, number, 5)
    assert returned == code
    again = [*OPTIONS, "--checkpoint", str(file), "--thread", "t", "two"]
    if number != signal.SIGKILL:
        assert errors.splitlines()[0] == "interrupted; every decided step is kept. To go on:"
        assert errors.splitlines()[1].split() == ["gsi", "solve", *again]
        assert len(errors.splitlines()) == 2
    with sqlite3.connect(file) as connection:
        spaces = {row[0].split(":")[0] for row in connection.execute("SELECT DISTINCT checkpoint_ns FROM checkpoints")}
    assert spaces == {"", "solve"}
    parts = models()
    assert command(again, parts) == 0
    told = capsys.readouterr()
    assert "thread t is resumed" in told.err
    assert sum(line.lstrip("#012 345").startswith(("✓", "↻")) for line in told.out.splitlines()) == sum(
        len(sample["steps"]) for sample in WHOLE["samples"]
    )  # those of before, too
    assert len(parts["draft"].asked) < sum(len(sample["steps"]) for sample in WHOLE["samples"])
    with SqliteSaver.from_conn_string(str(file)) as saver:
        kept = compiled(checkpointer=saver).get_state(THREAD).values
    assert untimed(kept["samples"]) == untimed(WHOLE["samples"])


def test_an_interruption_without_a_checkpoint_says_that_nothing_was_kept() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.graphs.tables", "0.3", *OPTIONS, "two"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    errors = waiting.told(process)[1]
    assert process.returncode == 130
    assert errors == "interrupted; nothing was kept (--checkpoint FILE.sqlite keeps every step)\n"
