"""The command `gsi`: its table of commands, what each loads for its help, and what is wrong with a call."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from gsi_node import __version__
from gsi_node.cli.__main__ import GSI, main
from gsi_node.cli.start import as_typed
from gsi_node.host.commands import Command, CommandTable
from gsi_node.needs import install_extra

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "transformers", "langgraph", "langchain_core", "numpy", "httpx", "starlette", "uvicorn")
Capture = pytest.CaptureFixture[str]


def test_the_script_that_is_installed_is_this_table() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    assert list(scripts) == ["gsi"]
    module, _, function = scripts["gsi"].partition(":")
    assert callable(getattr(import_module(module), function))


def test_help_names_every_command_and_the_version_is_told(capsys: Capture) -> None:
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("usage: gsi COMMAND …")
    assert "gsi --version" in told
    assert [line.split()[0] for line in told.splitlines() if line.startswith("  ")] == list(GSI.commands)
    assert main([]) == 2
    assert capsys.readouterr().out == told
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"gsi_node {__version__}\n"


@pytest.mark.parametrize(
    "argv", [["--help"], ["--version"], *([name, "--help"] for name in GSI.commands)], ids=" ".join
)
def test_help_loads_nothing_heavy(argv: list[str]) -> None:
    follows = {"solve", "serve"} & set(argv)  # from the fields of GSIConfig
    heavy = HEAVY if follows else (*HEAVY, "pydantic")
    code = (
        "import json, runpy, sys, time; sys.argv[1:] = json.loads(sys.argv[1])\n"
        "try: runpy.run_module('gsi_node.cli', run_name='__main__', alter_sys=True)\n"
        "except SystemExit as stop: status = stop.code\n"
        f"print(json.dumps([status, sorted(set({heavy!r}) & set(sys.modules)), time.process_time()]))"
    )
    done = subprocess.run([sys.executable, "-c", code, json.dumps(argv)], capture_output=True, text=True, check=True)
    *shown, last = done.stdout.splitlines()
    status, loaded, seconds = json.loads(last)
    assert (status, loaded, done.stderr) == (0, [], "")
    assert seconds < 0.5  # CPU seconds of the whole process, so that a busy machine does not count
    assert max(map(len, shown)) <= 84


def test_a_wrong_command_is_one_line(capsys: Capture) -> None:
    assert main(["slove"]) == 2
    assert capsys.readouterr().err == f"error: no command 'slove'; the commands are {', '.join(GSI.commands)}\n"


@pytest.mark.parametrize("name", GSI.commands)
def test_an_unknown_option_is_one_line(name: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([name, "--nonsense"])
    told = capsys.readouterr().err
    assert told.startswith("error: ") and told.count("\n") == 1 and f"gsi {name} --help" in told


def test_a_package_of_an_extra_is_named_and_a_fault_of_ours_is_not_mistaken_for_one(capsys: Capture) -> None:
    rows = {"absent": Command("no_such_package.part", "", "dev"), "ours": Command("gsi_node.no_such_module", "", "dev")}
    table = CommandTable("python -m few", "", rows)
    assert table.main(["absent"]) == 2
    told = f"error: `few absent` needs the package no_such_package: {install_extra('dev')}\n"
    assert capsys.readouterr().err == told
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        table.main(["ours"])


def test_the_line_to_go_on_with_is_what_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/somewhere/{name}")
    for script, typed in (("/somewhere/gsi", "gsi"), (".venv/bin/gsi", ".venv/bin/gsi")):
        monkeypatch.setattr(sys, "argv", [script, "solve", "2 + 3"])
        assert as_typed() == [typed, "solve", "2 + 3"]
    monkeypatch.setattr(sys, "argv", ["graphs/math_solver.py", "2 + 3"])
    monkeypatch.setattr(sys, "orig_argv", ["python", "graphs/math_solver.py", "2 + 3"])
    assert as_typed() == ["python", "graphs/math_solver.py", "2 + 3"]
