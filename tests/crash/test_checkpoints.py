"""The solver's checkpoint file: a run that died at the worst moment goes on; two processes are kept apart."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from gsi_node import StrictSerializer
from tests.graphs.tables import command
from tests.graphs.test_solver import ROOT

OPTIONS = ["--n", "2", "--beta", "4", "--threshold", "0.6", "--samples", "2", "--json"]
CHANNELS = ("run", "finished", "samples", "votes", "answer", "messages", "problem", "branch:to:vote", "__pregel_tasks")
Capture = pytest.CaptureFixture[str]


def untimed(value: Any) -> Any:
    """Without seconds."""
    if isinstance(value, dict):
        return {key: untimed(item) for key, item in value.items() if key != "seconds"}
    return [untimed(item) for item in value] if isinstance(value, list) else value


def asked(file: Path, *more: str, thread: str = "t") -> list[str]:
    return [*OPTIONS, "--checkpoint", str(file), "--thread", thread, *more, "two"]


def solved(capsys: Capture, file: Path) -> tuple[Any, str]:
    """The result of a command that succeeds, and what standard error says."""
    assert command(asked(file)) == 0
    told = capsys.readouterr()
    return untimed(json.loads(told.out)), told.err


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_run_that_dies_before_the_checkpoint_after_its_writes_goes_on(
    channel: str, tmp_path: Path, capsys: Capture
) -> None:
    stored = AsyncSqliteSaver.aput_writes

    async def dying(self: Any, config: Any, writes: Any, task_id: str, task_path: str = "") -> None:
        await stored(self, config, writes, task_id, task_path)
        if not config["configurable"].get("checkpoint_ns") and any(name == channel for name, _ in writes):
            os._exit(137)

    child = os.fork()
    if child == 0:
        AsyncSqliteSaver.aput_writes = dying  # type: ignore[method-assign]
        try:
            command(asked(tmp_path / "died.sqlite"))
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 137
    assert capsys.readouterr().out == ""
    whole, _ = solved(capsys, tmp_path / "whole.sqlite")
    assert len(whole["samples"]) == 2
    for _ in range(2):  # and the finished thread is shown again
        assert solved(capsys, tmp_path / "died.sqlite")[0] == whole


def first_table(file: Path) -> None:
    """As LangGraph's script leaves it between its two tables."""
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(
            "CREATE TABLE checkpoints (thread_id TEXT NOT NULL, checkpoint_ns TEXT NOT NULL DEFAULT '', checkpoint_id "
            "TEXT NOT NULL, parent_checkpoint_id TEXT, type TEXT, checkpoint BLOB, metadata BLOB, "
            "PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id))"
        )
    connection.close()


@pytest.mark.parametrize("made", [first_table, lambda file: file.touch()], ids=["first table", "empty"])
def test_a_file_that_was_only_begun_is_used(made: Any, tmp_path: Path, capsys: Capture) -> None:
    made(tmp_path / "begun.sqlite")
    assert solved(capsys, tmp_path / "begun.sqlite") == solved(capsys, tmp_path / "whole.sqlite")


@pytest.mark.parametrize(
    "tables", ["checkpoints (name)", "checkpoints (name); CREATE TABLE writes (name)", "writes (thread_id, idx)"]
)
def test_another_programs_tables_of_the_same_names_are_refused_and_left(
    tables: str, tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "other.sqlite"
    with sqlite3.connect(file) as connection:
        connection.executescript(f"CREATE TABLE {tables};")
    connection.close()
    before = file.read_bytes()
    assert command(asked(file)) == 2
    assert "of another program" in capsys.readouterr().err
    assert file.read_bytes() == before


def test_a_half_written_transaction_is_taken_back(tmp_path: Path, capsys: Capture) -> None:
    """A kill within a transaction leaves a journal, with which SQLite refuses a connection that only reads."""
    file = tmp_path / "half.sqlite"
    command(asked(file))
    code = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('PRAGMA journal_mode=DELETE')\n"
        "c.execute('PRAGMA cache_size = 1'); c.execute('DELETE FROM writes')\n"
        "c.execute('CREATE TABLE big (x)'); c.executemany('INSERT INTO big VALUES (?)', [('x' * 2000,)] * 200)\n"
        "os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(file)], check=True)
    assert Path(f"{file}-journal").exists()
    capsys.readouterr()
    assert "is finished" in solved(capsys, file)[1]


def test_a_name_that_sqlite_reads_otherwise_is_a_file(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for expected in ("", "thread t is finished"):
        assert expected in solved(capsys, Path(":memory:"))[1]
    assert (tmp_path / ":memory:").stat().st_size > 0


@contextmanager
def running(file: Path, thread: str) -> Iterator[subprocess.Popen[str]]:
    """A slow run in a process of its own that has shown a step."""
    argv = [sys.executable, "-m", "tests.graphs.tables", "0.3", *asked(file, thread=thread)]
    argv.remove("--json")
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            while "✓" not in (line := process.stdout.readline()) and "↻" not in line:
                assert line, "the run ended before it was to be stopped"
            yield process
        finally:
            process.kill()


def test_two_processes_on_one_thread_are_kept_apart_until_one_dies(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "a.sqlite"
    (tmp_path / "link.sqlite").symlink_to(file)
    with running(file, "t") as process:
        for name in (file, tmp_path / "link.sqlite"):
            assert command(asked(name)) == 2
            told = capsys.readouterr()
            assert told.out == ""
            assert told.err == (
                f"error: thread t of {name} is being run by process {process.pid}; wait for it, or name another "
                "--thread\n"
            )
        assert command(asked(file, thread="other")) == 0  # another thread of the file
        other = untimed(json.loads(capsys.readouterr().out))
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        found, told_next = solved(capsys, file)
    assert "thread t is resumed" in told_next
    assert found == other == solved(capsys, tmp_path / "whole.sqlite")[0]


def test_a_reader_that_goes_away_costs_no_step(tmp_path: Path, capsys: Capture) -> None:
    """As `| head -1` does."""
    file = tmp_path / "a.sqlite"
    argv = [sys.executable, "-m", "tests.graphs.tables", "0.1", *asked(file)]
    argv.remove("--json")
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) == 141
    found, told = solved(capsys, file)
    assert "thread t is resumed" in told
    assert found == solved(capsys, tmp_path / "whole.sqlite")[0]


def test_processes_that_make_one_file_together_wait_for_each_other(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "a.sqlite"
    begun = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.graphs.tables", "0", *asked(file, thread=str(i))],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for i in range(3)
    ]  # fmt: skip
    ended = [(process.communicate(timeout=120), process.returncode) for process in begun]
    assert [(told[1], code) for told, code in ended] == [("", 0)] * 3
    results = [untimed(json.loads(told[0])) for told, _ in ended]
    assert results == [solved(capsys, tmp_path / "whole.sqlite")[0]] * 3


ODD: list[Any] = [None, [], {}, "text", 7, {"channel_values": 1}, {"config": [], "models": 1}]


@pytest.mark.parametrize("channel", ["run", "samples", "votes", "finished", "steps", "answer", ""])
def test_a_state_of_another_shape_is_a_typed_error(channel: str, tmp_path: Path, capsys: Capture) -> None:
    """Every channel in turn, and the whole checkpoint ("") replaced by values that mean nothing there."""
    file = tmp_path / "a.sqlite"
    solved(capsys, file)
    newest = (
        "checkpoint_ns = '' AND checkpoint_id = (SELECT max(checkpoint_id) FROM checkpoints WHERE checkpoint_ns = '')"
    )
    with sqlite3.connect(file) as connection:
        (kept,) = connection.execute(f"SELECT checkpoint FROM checkpoints WHERE {newest}").fetchone()
    connection.close()
    serializer = StrictSerializer()
    for odd in ODD:
        checkpoint = odd
        if channel:
            checkpoint = serializer.loads_typed(("msgpack", kept))
            checkpoint["channel_values"][channel] = odd
        with sqlite3.connect(file) as connection:
            blob = serializer.dumps_typed(checkpoint)
            connection.execute(f"UPDATE checkpoints SET type = ?, checkpoint = ? WHERE {newest}", blob)
        connection.close()
        code = command(asked(file))
        told = capsys.readouterr()
        assert code in (0, 2)  # 0: nothing reads that value, or it is one that may stand there
        assert code == 0 or told.err.startswith("error: ")
