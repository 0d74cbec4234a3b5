"""What only a process shows: the plain file, from the repository and copied elsewhere, and its standard streams."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from tests.graphs.test_solver import ROOT

FILE = ROOT / "graphs" / "math_solver.py"


def test_help_answers_without_a_heavy_import_also_from_a_copied_file(tmp_path: Path) -> None:
    copied = shutil.copy(FILE, tmp_path / "solver.py")
    code = (
        "import json, runpy, sys, time; sys.argv[:] = [sys.argv[1], '--help']\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as stop: status = stop.code\n"
        "heavy = sorted({'torch', 'transformers', 'langgraph', 'numpy'} & set(sys.modules))\n"
        "print(json.dumps([status, heavy, time.process_time()]))"
    )
    done = subprocess.run([sys.executable, "-c", code, copied], cwd="/", capture_output=True, text=True, check=True)
    *shown, last = done.stdout.splitlines()
    status, heavy, seconds = json.loads(last)
    assert (status, heavy) == (0, [])
    assert seconds < 0.5  # CPU seconds of the whole process, so that a busy machine does not count
    assert shown[0].startswith("usage: math_solver.py")
    assert max(map(len, shown)) <= 84
    assert done.stderr == ""


def test_the_plain_file_says_in_one_line_what_is_wrong() -> None:
    done = subprocess.run(
        [sys.executable, str(FILE), "--draft", "no-such-kind:x", "--method", "draft", "2 + 2"],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "no-such-kind" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_broken_pipe_is_quiet() -> None:
    argv = [sys.executable, "-m", "tests.graphs.tables", "0.05", "two"]
    process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=60) == 141


def test_the_samples_show_an_accepted_step_and_one_that_the_base_writes_instead() -> None:
    done = subprocess.run([sys.executable, str(FILE), "--json"], cwd="/", capture_output=True, text=True, check=True)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["answer"] for result in results] == ["144", "5", "114"]
    steps = [step for result in results for step in result["steps"]]
    assert {(step["source"], step["accepted"]) for step in steps} == {("draft", True), ("base", False)}
