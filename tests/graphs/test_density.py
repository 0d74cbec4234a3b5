"""graphs/neural_jko.py --density: one's own function, as its user calls it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from graphs import neural_jko
from tests.graphs.test_neural_jko import ROOT, SCRIPT, TINY_SETTINGS

BANANA = """
from dataclasses import dataclass

import torch
from beside import BEND


@dataclass
class Shape:
    width: "float"


def banana(x):
    return -0.5 * x[:, 0] ** 2 - 0.5 * ((x[:, 1] - BEND * x[:, 0] ** 2) / Shape(0.5).width) ** 2
"""
SLOW = [*TINY_SETTINGS, "--set", "blocks=5", "--samples", "40"]


def files(folder: Path) -> dict[str, bytes]:
    found = {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}
    layers = json.loads((folder / "stack.json").read_text("utf-8"))["layers"]
    kept = [{key: value for key, value in layer.items() if "seconds" not in key} for layer in layers]
    return {**found, "layers": json.dumps(kept).encode()}


def test_a_function_in_a_file_and_in_a_module_resumed_after_a_kill(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By file; by module from the working folder, killed on the way: one model. Another function is refused."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "shapes.py").write_text(BANANA.replace("from beside", "from mine.beside"))
    (tmp_path / "mine" / "beside.py").write_text("BEND = 0.7\n")
    (tmp_path / "shapes.py").write_text(BANANA)
    (tmp_path / "beside.py").write_text("BEND = 0.7\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MPLCONFIGDIR": str(tmp_path)}

    def call() -> subprocess.Popen[str]:
        command = [sys.executable, str(SCRIPT), "--density", "mine.shapes:banana", "--dim", "2", "--out", "cut", *SLOW]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=tmp_path, env=environment, text=True, stdout=pipe, stderr=pipe)

    given = ["--density", str(tmp_path / "shapes.py") + ":banana", "--dim", "2", *SLOW]
    assert neural_jko.main([*given, "--out", str(tmp_path / "whole")]) == 0
    out, warned = capsys.readouterr()
    assert "log_z" in out and "rho" not in out  # no truth is known
    assert warned.startswith("error: KL(p ‖ target)")  # trained for no time, and says so
    killed = call()
    deadline = time.monotonic() + 200
    while not (tmp_path / "cut" / "stack.json").exists() and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert len(files(tmp_path / "cut")) < len(files(tmp_path / "whole"))
    again = call()
    _, errors = again.communicate(timeout=300)
    assert (again.returncode, errors) == (0, warned)
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
    (tmp_path / "shapes.py").write_text(BANANA.replace("0.5 *", "0.4 *"))
    assert neural_jko.main([*given, "--out", str(tmp_path / "cut")]) == 2
    assert "another density of the name banana: log g at probe 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--density", "{folder}/d.py"], "want package.module:function or FILE.py:function"),
        (["--density", "{folder}/e.py:f"], "cannot be loaded: FileNotFoundError"),
        (["--density", "no_such_package.at_all:f"], "cannot be loaded: ModuleNotFoundError: No module named 'no_such"),
        (["--density", "{folder}/broken.py:f"], "cannot be loaded: SyntaxError"),
        (["--density", "{folder}/d.py:absent"], "has no function absent"),
        (["--density", "{folder}/d.py:number"], "has int, no function, number"),
        (["--density", "{folder}/d.py:wide"], "of points (64, 2) has shape (64, 2); want (64,)"),
        (["--density", "{folder}/d.py:array"], "log_density returns ndarray; want a torch.Tensor"),
        (["--density", "{folder}/d.py:flat"], "log_density has no gradient"),
        (
            ["--density", "{folder}/d.py:third"],
            "raises IndexError: index 2 is out of bounds for dimension 1 with size 2 at points (64, 2)",
        ),
        (["--density", "{folder}/d.py:ok", "--target-seed", "1"], "a --density has none"),
        (["--density", "{folder}/d.py:ok", "--points", "x"], "a --density has none"),
    ],
)
def test_a_density_that_is_none_is_named(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.py").write_text("def f(x:\n")
    (tmp_path / "d.py").write_text(
        "number = 3\n"
        "def ok(x): return -x.square().sum(1)\n"
        "def wide(x): return -x.square()\n"
        "def array(x): return -(x.detach().numpy() ** 2).sum(1)\n"
        "def flat(x): return -x.detach().square().sum(1)\n"
        "def third(x): return -x[:, 2].square()\n"
    )
    given = [argument.replace("{folder}", str(tmp_path)) for argument in arguments]
    assert neural_jko.main([*given, "--dim", "2", "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize(
    "arguments",
    [["--density", "a:b"], ["--target", "8modes", "--dim", "2"], ["--target", "8modes", "--density", "a:b"], []],
)
def test_a_density_has_a_dimension_and_is_no_target(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        neural_jko.main(["--out", "DIR", *arguments])
    assert exit.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_function_with_the_name_of_a_target_has_no_setting_of_its_own(tmp_path: Path) -> None:
    from gsi_node.neural_jko.presets import configured

    assert configured("paper", "gmm_mine") == configured("paper", "own")
