"""What disks, limits and kills do to a run's folder: a typed error or nothing lost, and the same command goes on."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evals.rows.appender import Appender
from evals.rows.lines import read_rows, to_line
from evals.run.folder import keep
from gsi_node.errors import ConfigError, StorageError
from tests.evals.rows.test_rows import PLAN, old, row
from tests.evals.run.test_run import lines, plain
from tests.evals.tables import command, problems
from tests.graph.world import environment

Capture = pytest.CaptureFixture[str]
PRINTS = {"draft": "1", "base": "2", "reward": "3"}


def arguments(folder: Path, *more: str) -> list[str]:
    return ["--data", str(problems(folder, 3)), "--out", str(folder / "run"), "--n", "2", *more]


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_a_kill_at_any_step_of_the_first_write_leaves_a_folder_that_goes_on(
    call: str, tmp_path: Path, capsys: Capture
) -> None:
    folder = tmp_path / "run"
    child = os.fork()
    if child == 0:
        setattr(os, call, lambda *args, **kwargs: os._exit(9))
        keep(folder, PLAN, PRINTS)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert command(arguments(tmp_path)) == 0
    assert len(read_rows(folder)) == 3
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "results.jsonl"]
    capsys.readouterr()


def test_the_configuration_is_on_the_disk_before_and_after_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, renamed = os.fsync, os.replace

    def watched_fsync(descriptor: int) -> None:
        done.append(f"fsync {os.readlink(f'/proc/self/fd/{descriptor}')}")
        fsync(descriptor)

    def watched_replace(*paths: Any) -> None:
        done.append("replace")
        renamed(*paths)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    folder = tmp_path / "new" / "run"
    keep(folder, PLAN, PRINTS)
    draft = f"fsync {folder}/config.json.part"
    assert done == [f"fsync {tmp_path}/new", f"fsync {tmp_path}", draft, "replace", f"fsync {folder}"]


def limited(folder: Path, size: int) -> subprocess.CompletedProcess[str]:
    """A run that may write no file longer than `size`."""
    argv = [sys.executable, "-m", "tests.evals.tables", *arguments(folder)]
    return subprocess.run(
        argv,
        env=environment(),
        text=True,
        capture_output=True,
        timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY)),
    )


@pytest.mark.parametrize("share", [0.05, 0.7])  # in the configuration, and in the middle of the rows
def test_a_limit_on_files_is_a_typed_error_and_the_same_command_goes_on(
    share: float, tmp_path: Path, capsys: Capture
) -> None:
    whole = tmp_path / "whole"
    assert command([*arguments(tmp_path), "--out", str(whole)]) == 0
    ended = limited(tmp_path, int(share * (whole / "results.jsonl").stat().st_size))
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert "cannot be written" in line
    assert "make room, and give the same command again" in line
    assert command(arguments(tmp_path)) == 0
    assert plain(read_rows(tmp_path / "run")) == plain(read_rows(whole))
    capsys.readouterr()


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_full_disk_leaves_whole_rows_and_the_same_command_goes_on(
    failing: int, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, rows = os.write, [0]

    def full(descriptor: int, data: Any) -> int:
        if b'"problem_id"' in bytes(data):
            rows[0] += 1
            if rows[0] == failing:
                write(descriptor, bytes(data)[:10])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data)

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        assert command(arguments(tmp_path)) == 1
    told = capsys.readouterr().err
    assert "results.jsonl: cannot be written (No space left on device)" in told
    assert "Traceback" not in told
    assert len(read_rows(tmp_path / "run")) == failing - 1
    assert command(arguments(tmp_path)) == 0
    assert len(read_rows(tmp_path / "run")) == 3
    capsys.readouterr()


def test_a_full_disk_under_the_configuration_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "run").mkdir()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"config\.json: cannot be written: No space left on device; make room"):
        keep(tmp_path / "run", PLAN, PRINTS)
    assert list((tmp_path / "run").iterdir()) == []


def test_who_comes_second_compares(tmp_path: Path) -> None:
    keep(tmp_path, PLAN, PRINTS)
    before = (tmp_path / "config.json").stat()
    keep(tmp_path, PLAN, PRINTS)
    assert os.path.samestat(before, (tmp_path / "config.json").stat())  # nothing is written again
    with pytest.raises(ConfigError, match=r"data_seed: 0 there, 1 here"):
        keep(tmp_path, replace(PLAN, data_seed=1), PRINTS)


def test_repair_says_what_it_drops_keeps_it_beside_and_makes_the_rows_again(tmp_path: Path, capsys: Capture) -> None:
    argv = arguments(tmp_path)
    assert command(argv) == 0
    results, whole = tmp_path / "run" / "results.jsonl", plain(read_rows(tmp_path / "run"))
    first, second, third = results.read_bytes().splitlines(keepends=True)
    damaged = second.replace(b'"method": "gsi"', b'"method": "gsj"')
    results.write_bytes(first + damaged + b"[]\n" + third)
    capsys.readouterr()
    assert command(argv) == 2
    told = capsys.readouterr().err
    assert f"{results}, line 2: damaged: its checksum is of other bytes; " in told
    assert "--repair" in told
    assert results.read_bytes() == first + damaged + b"[]\n" + third  # nothing is touched unasked
    assert command([*argv, "--repair"]) == 0
    told = capsys.readouterr().err
    assert f"dropped (dropped-lines.txt has it): {results}, line 2: damaged" in told
    assert f"dropped (dropped-lines.txt has it): {results}, line 3: want a JSON object, got list" in told
    assert "1 to do" in told
    assert (tmp_path / "run" / "dropped-lines.txt").read_bytes() == damaged + b"[]\n"
    assert results.read_bytes().startswith(first + third)
    assert plain(read_rows(tmp_path / "run")) == whole
    assert command([*argv, "--repair"]) == 0  # nothing is left to repair
    assert "dropped" not in capsys.readouterr().err


def test_repair_reaches_every_shard_and_takes_away_a_configuration_beside_no_rows(
    tmp_path: Path, capsys: Capture
) -> None:
    argv = arguments(tmp_path)
    assert command([*argv, "--shard", "0/2"]) == 0
    shard = tmp_path / "run" / "results.shard-0-of-2.jsonl"
    shard.write_bytes(shard.read_bytes() + b"null\n")
    config = tmp_path / "run" / "config.json"
    kept = config.read_bytes()
    config.write_bytes(kept[:-5])
    assert command([*argv, "--repair"]) == 2  # rows of who knows which run
    assert "name another --out" in capsys.readouterr().err
    config.write_bytes(kept)
    assert command([*argv, "--repair"]) == 0
    assert f"{shard}, line 3: want a JSON object" in capsys.readouterr().err
    assert len(read_rows(tmp_path / "run")) == 3
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_bytes(b"")  # as a machine that lost power left it
    assert command([*argv, "--out", str(other)]) == 2
    assert "no row stands beside it: --repair makes it again" in capsys.readouterr().err
    assert command([*argv, "--out", str(other), "--repair", "--dry-run"]) == 2
    assert (other / "config.json").exists()  # a dry run touches nothing
    assert command([*argv, "--out", str(other), "--repair"]) == 0
    capsys.readouterr()


def test_a_repaired_file_is_locked_by_its_new_name(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    file.write_bytes(to_line(row("a")) + b"null\n")
    with Appender(file, repair=True) as appender:
        with pytest.raises(ConfigError, match="another process is writing it"):
            Appender(file)
        appender.append(to_line(row("b")))
    assert [one.problem_id for one in read_rows(tmp_path)] == ["a", "b"]


def test_a_folder_of_the_version_before_goes_on(tmp_path: Path, capsys: Capture) -> None:
    argv = arguments(tmp_path)
    assert command(argv) == 0
    folder = tmp_path / "run"
    rows = read_rows(folder)
    there = json.loads((folder / "config.json").read_text())
    kept = {name: value for name, value in there.items() if "_seconds" not in name and name != "checksum"}
    (folder / "config.json").write_text(json.dumps({**kept, "schema": 1}))
    (folder / "results.jsonl").write_bytes(b"".join(map(old, rows[:2])))
    assert command(argv) == 0
    assert plain(read_rows(folder)) == plain(rows)
    assert {row["problem_id"]: row["schema"] for row in lines(tmp_path)} == {"p0": 1, "p1": 1, "p2": 2}
    told = capsys.readouterr().err
    assert "1 to do" in told
    assert command([*argv, "--grading-seconds", "7"]) == 2
    assert "grading_seconds: 5.0 there, 7.0 here" in capsys.readouterr().err


def test_the_limits_on_files_do_not_kill() -> None:
    assert signal.getsignal(signal.SIGXFSZ) is signal.SIG_IGN  # Python's own doing, on which all of this rests
