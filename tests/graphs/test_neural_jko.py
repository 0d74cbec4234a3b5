"""graphs/neural_jko.py: the library's model, resumed at its last layer, with pictures and clear errors."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from langgraph.checkpoint.sqlite import SqliteSaver

from gsi_node.neural_jko.presets import configured
from gsi_node.neural_jko.run import Run
from gsi_node.neural_jko.targets import named
from tests import waiting

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "graphs" / "neural_jko.py"
QUICK: dict[str, Any] = {
    "flows_first": 1, "first_rejections": 0, "blocks": 2, "rejections": 2, "wanted_ess": None, "likelihood_steps": 5,
    "rounds": 0, "steps": 5, "particles": 128, "weighing": 64, "calibration": 64, "optimizer": "adam",
}  # fmt: skip


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("neural_jko_script", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


JKO = script()
SETTINGS = [part for key, value in QUICK.items() for part in ("--set", f"{key}={json.dumps(value)}")]


class Killed(BaseException):
    pass


def test_a_killed_graph_resumes_at_its_last_layer_to_the_library_s_model(tmp_path: Path) -> None:
    target, settings = named("8modes"), configured("cpu", "8modes", QUICK)
    whole = Run(target, settings, tmp_path / "whole").complete()
    trained: list[str] = []

    def told(what: str, done: int, total: int, loss: float) -> None:
        if done == 1:
            trained.append(what)
        if what == "flow 4" and trained.count("flow 4") == 1 and done == 3:
            raise Killed

    with pytest.raises(Killed):
        JKO.train(JKO.NeuralJKO(Run(target, settings, tmp_path / "cut", told=told), samples=50))
    run = Run(target, settings, tmp_path / "cut", told=told)
    final = JKO.train(JKO.NeuralJKO(run, samples=50))
    assert trained == ["flow 0", "flow 1", "flow 4", "flow 4"]
    assert [layer["kind"] for layer in run.finished()] == settings.plan()
    assert final["layers"] == len(settings.plan())
    assert [record["layers"] for record in final["metrics"]] == [1, 4, 7]
    draws = [s.sample(60, torch.Generator().manual_seed(0)) for s in (whole, run.stack())]
    assert torch.equal(draws[0].x, draws[1].x)
    assert torch.equal(draws[0].log_prob, draws[1].log_prob)
    assert json.loads(json.dumps(final)) == final  # plain, no tensors
    again = JKO.train(JKO.NeuralJKO(Run(target, settings, tmp_path / "cut", told=told), samples=50))
    assert again["layers"] == final["layers"]
    assert len(trained) == 4


def test_the_command_draws_and_measures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert JKO.main(["--target", "mustache", "--out", str(tmp_path), "--samples", "800", *SETTINGS]) == 0
    for page in ("samples", "marginals", "training"):
        assert (tmp_path / f"{page}.png").read_bytes().startswith(b"\x89PNG")
    numbers = json.loads((tmp_path / "metrics.json").read_text("utf-8"))
    assert {"energy_distance", "rho", "rho_noise", "log_z_lower_error", "evaluations", "seconds"} <= set(numbers)
    assert {"pilot_rho", "pilot_log_z", "pilot_evaluations"} <= set(numbers)
    out, errors = capsys.readouterr()
    assert "energy_distance" in out
    lines = [line.split() for line in out.splitlines()]
    told = re.fullmatch(r"announced +about ([\d.]+) CPU minutes; at most ([\d.]+)", out.splitlines()[0])
    assert told is not None  # before anything is trained; no word of blocks where all of them are certain
    (spent,) = (float(line[1]) for line in lines if line[:1] == ["spent"])
    assert 0 <= spent < float(told[2]) < 2
    assert float(told[1]) < float(told[2])
    assert "times its noise at the truth: the samples are visibly off" in errors  # five steps are too few


TINY = {
    **QUICK, "blocks": 1, "rejections": 1, "steps": 2, "particles": 32, "weighing": 32, "calibration": 32, "width": 4,
    "gate": 0, "depth": 1, "pilot_evaluations": 8000,
}  # fmt: skip
TINY_SETTINGS = [part for key, value in TINY.items() for part in ("--set", f"{key}={json.dumps(value)}")]


def test_a_kill_after_any_write_to_the_checkpoint_leaves_a_run_that_goes_on(tmp_path: Path) -> None:
    """Between a task's stored writes and the next checkpoint LangGraph's `next` is empty, though the run goes on."""
    target, settings = named("8modes"), configured("cpu", "8modes", TINY)

    def train(folder: Path, dies_at: int) -> tuple[dict[str, Any], int]:
        calls = 0

        def dying(real: Any) -> Any:
            def call(*arguments: Any, **how: Any) -> Any:
                nonlocal calls
                if calls > dies_at:
                    raise Killed  # the dead store nothing more
                result = real(*arguments, **how)
                calls += 1
                if calls > dies_at:
                    raise Killed
                return result

            return call

        with pytest.MonkeyPatch.context() as patch:
            for name in ("put", "put_writes"):
                patch.setattr(SqliteSaver, name, dying(getattr(SqliteSaver, name)))
            return JKO.train(JKO.NeuralJKO(Run(target, settings, folder), samples=20)), calls

    whole, count = train(tmp_path / "whole", 10_000)
    assert whole["layers"] == 3
    assert count >= 11  # the input, then writes and a checkpoint of each of five nodes
    for number in range(count):
        with pytest.raises(Killed):
            train(tmp_path / str(number), number)
        again, _ = train(tmp_path / str(number), 10_000)
        assert again == whole, number


def test_what_is_left_to_do_is_decided_by_the_layers_on_disk(tmp_path: Path) -> None:
    """A checkpoint that says "finished" over a folder that lost layers: they are made again, the same ones."""
    target, settings = named("8modes"), configured("cpu", "8modes", TINY)
    whole = JKO.train(JKO.NeuralJKO(Run(target, settings, tmp_path), samples=20))
    before = Run(target, settings, tmp_path).stack().sample(30, torch.Generator().manual_seed(0))
    path = tmp_path / "stack.json"
    about = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**about, "layers": about["layers"][:1]}), "utf-8")
    again = JKO.train(JKO.NeuralJKO(Run(target, settings, tmp_path), samples=20))
    assert again == whole
    after = Run(target, settings, tmp_path).stack().sample(30, torch.Generator().manual_seed(0))
    assert torch.equal(after.x, before.x)


def test_no_recursion_limit_cuts_it(tmp_path: Path) -> None:
    """LangChain hands 25 supersteps to what runs in a batch or a pipe; these layers take 26."""
    target, settings = named("8modes"), configured("cpu", "8modes", {**TINY, "blocks": 8, "steps": 1})
    begin: dict[str, Any] = {"layers": 0, "metrics": []}
    for name in ("batch", "pipe"):
        run = Run(target, settings, tmp_path / name)
        graph: Any = JKO.NeuralJKO(run, samples=8).build().compile()
        final = graph.batch([begin])[0] if name == "batch" else (graph | (lambda state: state)).invoke(begin)
        assert final["layers"] == len(settings.plan()) == 17
        assert [layer["kind"] for layer in run.finished()] == settings.plan()


def test_another_number_of_samples_is_measured_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def numbers(samples: int, *more: str) -> dict[str, Any]:
        given = ["--target", "8modes", "--out", str(tmp_path), "--samples", str(samples), *TINY_SETTINGS, *more]
        assert JKO.main(given) == 0
        found: dict[str, Any] = json.loads((tmp_path / "metrics.json").read_text("utf-8"))
        return found

    few, many = numbers(50), numbers(400)
    assert (few["samples"], many["samples"]) == (50, 400)
    assert many["energy_distance"] != few["energy_distance"]
    assert numbers(50) == few
    capsys.readouterr()
    (tmp_path / "metrics.json").unlink()
    assert JKO.main(["--target", "8modes", "--out", str(tmp_path), *TINY_SETTINGS, "--set", "seed=1"]) == 2
    assert "seed 0 → 1" in capsys.readouterr().err


def test_a_seed_of_set_is_the_seed_of_all_that_is_drawn(tmp_path: Path) -> None:
    for name, seed in (("a", ["--seed", "3"]), ("b", ["--set", "seed=3"])):
        out = str(tmp_path / name)
        assert JKO.main(["--target", "8modes", "--out", out, "--samples", "30", *TINY_SETTINGS, *seed]) == 0
    a, b = (json.loads((tmp_path / name / "metrics.json").read_text("utf-8")) for name in ("a", "b"))
    assert (a["rho_noise"], a["energy_distance"]) == (b["rho_noise"], b["energy_distance"])
    assert (tmp_path / "a" / "samples.png").read_bytes() == (tmp_path / "b" / "samples.png").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--set", "inital_tau=0.05"], "inital_tau"),
        (["--set", "steps"], "want NAME=VALUE"),
        (["--set", "steps=0"], "steps"),
        (["--set", "tau=NaN"], "tau"),
        (["--set", "tau=1e999"], "tau"),
        (["--set", "tau_growth=1e300"], "leaves the floats"),
        (["--set", "blocks=1000000000"], "blocks"),
        (["--set", "width=" + "9" * 5000], "want NAME=VALUE"),
        (["--set", "tau=" + "[" * 100_000], "want NAME=VALUE"),
        (["--set", "flows_first=0", "--set", "blocks=0"], "no layer at all"),
        (["--set", "latent_mean=[]"], "latent_mean"),
        (["--set", "latent_mean=[0, 0, 0]"], "want one number or 2, got 3"),
        (["--seed", str(2**70)], "seed"),
        (["--target-seed", "3"], "nothing of 8modes is drawn"),
        (["--points", "{folder}/file"], "target 8modes takes none"),
        (["--set", "likelihood_steps=0", "--set", "rounds=3"], "rounds"),
        (["--device", "warp"], "device 'warp'"),
        (["--out", "{folder}/file"], "Not a directory"),
        (["--out", "{folder}/file/run"], "Not a directory"),
        (["--out", "{folder}/thesis"], "no run of neural JKO"),
        (["--out", "{folder}/evals"], "not of neural JKO"),
        (["--out", "{folder}/\0"], "null byte"),
    ],
)
def test_wrong_settings_are_named(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "one.tex").write_text("x")
    (tmp_path / "evals").mkdir()
    (tmp_path / "evals" / "config.json").write_text('{"draft": "pocket:draft"}')
    given = [argument.replace("{folder}", str(tmp_path)) for argument in arguments]
    assert JKO.main(["--target", "8modes", "--out", str(tmp_path / "run"), *given]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--target", "9modes"],
        ["--out", ""],
        ["--samples", "1"],
        ["--samples", "9" * 5000],
        ["--seed", "x"],
        ["--nonsense"],
    ],
    ids=lambda given: given[-1][:8] or "empty",
)
def test_a_wrong_command_line_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        JKO.main(["--target", "8modes", "--out", "DIR", *arguments])
    assert exit.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_checkpoint_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--target", "8modes", "--out", str(tmp_path), "--samples", "20", *TINY_SETTINGS]
    Run(named("8modes"), configured("cpu", "8modes", TINY), tmp_path)
    (tmp_path / "checkpoint.sqlite").write_text("no database, but some text that is long enough to be looked at" * 20)
    assert JKO.main(given) == 2
    error = capsys.readouterr().err
    assert "checkpoint.sqlite: cannot be read: file is not a database" in error
    assert error.count("\n") == 1


def test_a_folder_in_use_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(named("8modes"), configured("cpu", "8modes", TINY), tmp_path)
    with run.held():
        assert JKO.main(["--target", "8modes", "--out", str(tmp_path), *TINY_SETTINGS]) == 2
    assert f"process {os.getpid()} is at work there" in capsys.readouterr().err


def test_a_limit_on_the_size_of_files_is_one_line_and_the_command_goes_on(tmp_path: Path) -> None:
    line = f'ulimit -f 8; "$@" --target 8modes --out {tmp_path}/run --samples 20'  # blocks of 1024 bytes
    command = ["bash", "-c", line, "sh", sys.executable, str(SCRIPT), *TINY_SETTINGS]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MPLCONFIGDIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert done.stderr.startswith("error: ") and str(tmp_path) in done.stderr
    assert JKO.main(["--target", "8modes", "--out", str(tmp_path / "run"), "--samples", "20", *TINY_SETTINGS]) == 0


ENDLESS = ["--set", "likelihood_steps=1000000"]


@pytest.mark.parametrize(("there", "more", "delay"), [("config.json", [], 0.5), ("frame.safetensors", ENDLESS, 4.0)])
def test_ctrl_c_ends_with_one_line(there: str, more: list[str], delay: float, tmp_path: Path) -> None:
    """Before the pilot is through, and within a fit that asks the target nothing: at once, not after it."""
    command = [sys.executable, str(SCRIPT), "--target", "8modes", "--out", str(tmp_path / "run"), *more]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)
    deadline = time.monotonic() + 90
    while not (tmp_path / "run" / there).exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    _, errors = waiting.told(process)
    assert process.returncode == 130, errors
    assert "goes on from the layers" in errors
    assert "Traceback" not in errors
