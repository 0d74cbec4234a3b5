"""By what and where rows were made: it stands in config.json, and keeps nobody from going on."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pytest

from evals.__main__ import main as evals
from evals.rows.lines import read_rows
from evals.run import folder, provenance
from evals.run.config import Provenance, read_config
from evals.run.merge import merge
from evals.run.provenance import commit_of, here_and_now
from tests.evals.tables import command, problems

ELSEWHERE = Provenance(version="9.9", commit="f" * 40, machine="another, 1000 × 64", date="2031-01-01T00:00:00+00:00")


def run(where: Path, out: str, *more: str) -> Path:
    """A run over table models."""
    argv = ["--data", str(problems(where, 2)), "--methods", "draft", "--n", "2", "--out", str(where / out), *more]
    assert command(argv) == 0
    return where / out


def test_a_run_says_by_what_where_and_when_it_was_made(tmp_path: Path) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    [made] = read_config(run(tmp_path, "run")).made
    assert made.version == version("gsi-node")
    assert made.commit == commit_of(provenance.TREE)
    assert f"× {os.cpu_count()}" in made.machine and os.uname().nodename not in made.machine.split()
    assert before <= datetime.fromisoformat(made.date) <= datetime.now(UTC)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["made"] == [made.model_dump()]


def test_another_version_on_another_machine_goes_on_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run(tmp_path, "run")
    written = (out / "config.json").read_bytes()
    run(tmp_path, "run", "--seeds", "0")
    assert (out / "config.json").read_bytes() == written  # nothing new: the first date stays
    [first] = read_config(out).made
    monkeypatch.setattr(folder, "here_and_now", lambda: ELSEWHERE)
    run(tmp_path, "run", "--seeds", "1")
    assert read_config(out).made == [first, ELSEWHERE]
    assert len(read_rows(out)) == 4
    run(tmp_path, "run", "--seeds", "1")
    assert read_config(out).made == [first, ELSEWHERE]
    other = run(tmp_path, "other", "--seeds", "2")
    assert read_config(out).differing(read_config(other)) == []
    merge([other, out], tmp_path / "both")
    assert read_config(tmp_path / "both").made == [ELSEWHERE, first]
    capsys.readouterr()
    assert evals(["compare", str(out), str(out)]) == 0
    run(tmp_path, "third", "--seeds", "0,1")
    capsys.readouterr()
    assert evals(["compare", str(out), str(tmp_path / "third")]) == 0
    assert "Differing settings: none." in capsys.readouterr().out


def test_a_folder_of_before_goes_on(tmp_path: Path) -> None:
    out = run(tmp_path, "run")
    config = read_config(out)
    (out / "config.json").write_bytes(config.model_copy(update={"made": []}).to_json())
    run(tmp_path, "run", "--seeds", "1")
    assert [one.alike(here_and_now()) for one in read_config(out).made] == [True]


def test_the_commit_is_that_of_the_tree_itself(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        return subprocess.run(
            ["git", "-C", str(tmp_path), *who, *words], check=True, capture_output=True, text=True
        ).stdout

    git("init", "--quiet")
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "file").write_text("one")
    assert commit_of(tmp_path) is None  # no commit yet
    git("add", ".")
    git("commit", "--quiet", "--message", "one")
    git("tag", "--annotate", "v1", "--message", "a tag")
    head = git("rev-parse", "HEAD").strip()
    assert commit_of(tmp_path) == head
    assert commit_of(tmp_path / "inside") is None  # a package's folder in the clone of something else
    (tmp_path / "inside" / "file").write_text("two")
    assert commit_of(tmp_path) == f"{head}-dirty"
    assert commit_of(tmp_path / "absent") is None


def test_a_machine_without_git_and_gpus_has_neither(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(provenance, "CPUINFO", tmp_path / "absent")
    found = here_and_now()
    assert found.commit is None and found.machine.count(",") == 1
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 'NVIDIA A\nNVIDIA B'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert here_and_now().machine == f"{found.machine}, NVIDIA A, NVIDIA B"
