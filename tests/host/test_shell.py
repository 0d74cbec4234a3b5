"""Every command at the shell: streams that are not UTF-8, closed or full, readers that go away, Ctrl-C; exit codes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from gsi_node.cli.__main__ import GSI
from gsi_node.cli.arguments import EPILOG
from gsi_node.host import shell
from tests import waiting

ROOT = Path(__file__).resolve().parents[2]
SOLVER = ["-m", "tests.graphs.tables", "0"]  # `gsi solve` over table models
COMMANDS = [
    ["graphs/math_solver.py"],
    ["graphs/neural_jko.py"],
    ["-m", "gsi_node.cli"],
    *(["-m", "gsi_node.cli", name] for name in GSI.commands),
    ["-m", "evals"],
    ["-m", "evals", "run"],
    ["-m", "evals.audit"],
]


def called(command: list[str]) -> str:
    """A command as docs/commands.md names it."""
    return " ".join(["python", *command]).replace("python -m gsi_node.cli", "gsi")


UNDERNEATH = {"evals/graders/worker.py"}  # started by the pool of the grader alone, which reads how it ends


def sh(
    line: str, command: Sequence[str], encoding: str = "utf-8", unbuffered: str = ""
) -> subprocess.CompletedProcess[bytes]:
    """What `line`, in which "$@" is the command, does in a shell; its exit code is that of the command."""
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUNBUFFERED": unbuffered, "PYTHONPATH": str(ROOT)}
    argv = ["bash", "-c", f"set -o pipefail; {line}", "sh", sys.executable, *command]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, env=environment, check=False, timeout=120)


@pytest.mark.parametrize(
    ("command", "encoding"),
    [*[(command, "ascii") for command in COMMANDS], (COMMANDS[0], "latin-1"), (COMMANDS[0], "cp1252")],
    ids=str,
)
def test_help_is_printed_in_every_encoding(command: list[str], encoding: str) -> None:
    done = sh('"$@" --help', command, encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "usage:" in done.stdout.decode(encoding)


@pytest.mark.parametrize(("encoding", "mark"), [("ascii", "v draft"), ("cp1252", "v draft"), ("utf-8", "✓ draft")])
def test_a_run_is_shown_in_every_encoding(encoding: str, mark: str) -> None:
    done = sh('"$@" two', SOLVER, encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert mark in done.stdout.decode(encoding)


def test_what_stands_for_a_symbol_is_ascii_and_other_letters_are_escaped() -> None:
    assert all(text.isascii() and text for text in shell.SPELT.values())
    assert "β ≥ é\ud800 日".encode("ascii", "gsi_node.legible") == b"beta >= \\xe9\\ud800 \\u65e5"


@pytest.mark.parametrize("command", [[*SOLVER, "two"], ["-m", "evals", "--help"]], ids=["solver", "evals"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_standard_output_is_an_error(command: list[str], unbuffered: str) -> None:
    done = sh('"$@" >/dev/full', command, unbuffered=unbuffered)
    assert (done.returncode, done.stderr) == (1, b"error: standard output: No space left on device\n")


@pytest.mark.parametrize("command", [COMMANDS[0], COMMANDS[2], COMMANDS[9], COMMANDS[10]], ids=" ".join)
def test_a_closed_standard_output_is_refused(command: list[str]) -> None:
    done = sh('"$@" --help >&-', command)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: standard output is closed")
    assert done.stderr.count(b"\n") == 1


def test_a_closed_standard_input_has_no_problem_and_is_not_needed() -> None:
    done = sh('"$@" - <&-', SOLVER)
    assert (done.returncode, done.stderr) == (2, b"error: no problem in standard input\n")
    assert sh('"$@" two <&-', SOLVER).returncode == 0


def test_without_standard_error_the_exit_code_tells() -> None:
    assert sh('"$@" --nonsense 2>&-', SOLVER).returncode == 2
    assert sh('"$@" --nonsense 2>/dev/full', SOLVER).returncode == 2
    done = sh('"$@" two 2>&-', SOLVER)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"draft" in done.stdout


@pytest.mark.parametrize("command", [[*SOLVER, "two"], ["-m", "evals"]], ids=["solver", "evals"])
def test_a_reader_that_goes_away_ends_it_quietly(command: list[str]) -> None:
    done = sh('(sleep 0.2; "$@") | exec 0<&-', [*command, "--help"])  # gone before anything is written
    assert (done.returncode, done.stderr) == (141, b"")


def test_no_file_is_opened_under_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    """Without care the checkpoint file becomes descriptor 2, and what is said of errors is written into it."""
    code = (
        "import os, sys; from gsi_node.host.shell import prepare; prepare()\n"
        "print(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT) > 2)"
    )
    done = sh('"$@" 2>&- <&-', ["-c", code, str(tmp_path / "file")])
    assert done.stdout == b"True\n"


@pytest.mark.parametrize("given", [None, "ACTIVE"])
@pytest.mark.parametrize(
    "argv", [["graphs/neural_jko.py", "--help"], ["graphs/math_solver.py", "What is 1 + 1?"]], ids=" ".join
)
def test_idle_threads_sleep_unless_the_user_says_otherwise(argv: list[str], given: str | None) -> None:
    """It stands in the environment when torch is imported, which reads it once."""
    code = (
        "import os, runpy, sys; os.environ.pop('OMP_WAIT_POLICY', None); os.environ.update(eval(sys.argv[1]))\n"
        "class Finder:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'torch': print('torch sees', os.environ.get('OMP_WAIT_POLICY'))\n"
        "sys.meta_path.insert(0, Finder()); sys.argv = sys.argv[2:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    set_ = {} if given is None else {"OMP_WAIT_POLICY": given}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code, repr(set_), *argv],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"torch sees {given or 'PASSIVE'}\n" in done.stdout


@pytest.mark.parametrize("command", [["graphs/math_solver.py", "-"], ["graphs/neural_jko.py", "--help"]], ids=" ".join)
def test_ctrl_c_while_it_starts_is_one_line(command: list[str]) -> None:
    """The solver waits for standard input; neural JKO is importing torch."""
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", *command], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if line.rstrip().endswith(("gsi_node.step.config", "torch._utils")):
            break
    process.send_signal(signal.SIGINT)
    told = waiting.told(process)[1]
    assert process.returncode == 130
    assert [line for line in told.splitlines() if not line.startswith("import time:")] == ["interrupted"]


def test_ctrl_c_while_a_command_works_is_one_line(tmp_path: Path) -> None:
    """The labels are a pipe that nobody writes to."""
    os.mkfifo(tmp_path / "labels")
    command = [sys.executable, "-m", "gsi_node.cli", "calibrate", "verifier", str(tmp_path / "labels")]
    process = subprocess.Popen([*command, "--out", "c.json"], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    writer = os.open(tmp_path / "labels", os.O_WRONLY)  # waits until the command has opened it
    process.send_signal(signal.SIGINT)
    told = waiting.told(process)[1]
    os.close(writer)
    assert (process.returncode, told) == (130, "interrupted\n")


@pytest.mark.parametrize("command", [c for c in COMMANDS if "jko" not in c[-1]], ids=" ".join)  # its own test has it
def test_a_wrong_command_line_is_one_line_and_exit_code_2(command: list[str]) -> None:
    done = sh('"$@" --no-such-option', command)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: ")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["graphs/math_solver.py", "--draft", "hf:/nowhere", "2 + 3"], 2),
        (["-m", "evals", "run", "--data", "pocket", "--limit", "1", "--draft", "hf:/nowhere", "--out"], 2),
        (["-m", "gsi_node.cli", "calibrate", "prm:/nowhere", "/dev/null", "--out"], 2),
    ],
    ids=["solver", "evals", "calibration"],
)
def test_what_cannot_be_loaded_has_the_code_that_the_table_says(command: list[str], code: int, tmp_path: Path) -> None:
    done = sh('"$@"', [*command, str(tmp_path / "out")] if command[-1] == "--out" else command)
    assert done.returncode == code
    assert b"error: model folder /nowhere does not exist" in done.stderr and b"Traceback" not in done.stderr


def test_every_command_ends_as_a_command_does() -> None:
    """Whatever can be run as a program stands in `ending`, and in the table of commands."""
    files = {str(path.relative_to(ROOT)): path.read_text("utf-8") for room in ("gsi_node", "evals", "graphs")
             for path in (ROOT / room).rglob("*.py")}  # fmt: skip
    ends = {name: text.partition('if __name__ == "__main__":')[2] for name, text in files.items()}
    assert "    with ending():" in files["gsi_node/cli/__main__.py"].partition("def gsi()")[2]
    ends["gsi_node/cli/__main__.py"] += "with ending():" if "    gsi()" in ends["gsi_node/cli/__main__.py"] else ""
    assert [name for name, end in ends.items() if end and "with ending():" not in end] == sorted(UNDERNEATH)
    table = (ROOT / "docs" / "commands.md").read_text("utf-8")
    for name in {name for name, end in ends.items() if end} - UNDERNEATH:
        module = name.removesuffix(".py").removesuffix("/__main__").replace("/", ".")
        assert name in table or called(["-m", module]) in table


def test_the_table_of_exit_codes_and_the_helps_of_commands_name_those_that_occur() -> None:
    """Each code occurs in a test: 0, 1, 2, 130 and 141 above, 130 and 143 of whole runs in graphs/test_resume.py."""
    table = (ROOT / "docs" / "commands.md").read_text("utf-8")
    codes = [int(line.split("|")[1]) for line in table.splitlines() if line[2:3].isdigit()]
    assert codes == [shell.DONE, shell.FAILED, shell.WRONG_CALL, shell.INTERRUPTED, shell.BROKEN_PIPE, 143]
    for told in (EPILOG.partition("exit codes:")[2], shell.__doc__ or ""):
        assert [int(code) for code in re.findall(r"\b\d+\b", told)] == codes
    for command in COMMANDS:
        assert called(command).removesuffix(" run") in table


DROPPED = """
import signal, sys, time
from gsi_node.host.shell import ending

class Held:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

with ending():
    held = Held()
    del held
    print("went on", flush=True)
    time.sleep(20)
    sys.exit(0)
"""


def test_ctrl_c_counts_where_python_drops_it() -> None:
    """In a destructor, as in the callbacks of every import: there a KeyboardInterrupt is shown, and forgotten."""
    done = sh('"$@"', ["-c", DROPPED])
    assert (done.returncode, done.stdout, done.stderr) == (130, b"went on\n", b"interrupted\n")


def test_ctrl_c_counts_where_threads_begin_slowly() -> None:
    """As on a loaded machine: what sends it once more must wait until Python has left the hook."""
    slow = "import threading, time\nbegin = threading.Thread.start\n"
    slow += "threading.Thread.start = lambda self: (begin(self), time.sleep(0.3))[0]\n"
    done = sh('"$@"', ["-c", slow + DROPPED])
    assert (done.returncode, done.stdout, done.stderr) == (130, b"went on\n", b"interrupted\n")


def test_another_exception_that_python_drops_is_shown_as_ever() -> None:
    done = sh('"$@"', ["-c", DROPPED.replace("signal.raise_signal(signal.SIGINT)", "1 / 0").replace("20", "0")])
    assert done.returncode == 0 and b"Exception ignored in" in done.stderr and b"ZeroDivisionError" in done.stderr
