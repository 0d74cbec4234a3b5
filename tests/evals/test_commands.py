"""The commands of evals as people call them: odd options, absent packages, full disks; one line and an exit code."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evals.__main__ import EVALS
from evals.__main__ import main as evals
from gsi_node.errors import ConfigError
from gsi_node.needs import install_extra
from gsi_node.step.config import GSIConfig
from gsi_node.step.layers import read_fields, validated
from tests import waiting
from tests.evals.synthetic import campaign, write
from tests.graph.world import environment

TEXTS = st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass"))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.integers())
Capture = pytest.CaptureFixture[str]
MANY = "7" * 5000


@pytest.mark.parametrize(
    "argv",
    [
        ["run", "--data", "pocket", "--out", "OUT", "--minutes", "nan"],
        ["run", "--data", "pocket", "--out", "OUT", "--minutes", "-1"],
        ["run", "--data", "pocket", "--out", "OUT", "--row-seconds", "0"],
        ["run", "--data", "pocket", "--out", "OUT", "--n", MANY],
        ["run", "--data", "pocket", "--out", "OUT", "--seeds", f"0,{MANY}"],
        ["run", "--data", "pocket", "--out", "OUT", "--data-seed", MANY],
        ["run", "--data", "pocket", "--out", "OUT", "--limit", "²"],
        ["run", "--data", "pocket", "--out", "OUT", "--shard", f"0/{MANY}"],
        ["report", "OUT", "--page-megabytes", "nan"],
        ["report", "OUT", "--page-megabytes", "inf"],
        ["tune", "--data", "pocket", "--out", "OUT", "--target-fallback", "nan"],
        ["tune", "--data", "pocket", "--out", "OUT", "--budget-flops", "nan"],
        ["tune", "--data", "pocket", "--out", "OUT", "--betas", "1,inf"],
        ["tune", "--data", "pocket", "--out", "OUT", "--n", MANY],
        ["tune", "--data", "pocket", "--out", "OUT", "--limit", "0"],
    ],
    ids=lambda argv: " ".join(argv)[:60],
)
def test_odd_options_are_one_short_line(argv: list[str], tmp_path: Path, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stop:
        evals([str(tmp_path / "out") if word == "OUT" else word for word in argv])
    assert stop.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("error: argument ")
    assert told.count("\n") == 1
    assert len(told) < 300


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("big.json", f'{{"beta": {MANY}}}', "an integer of more than 4300 digits"),
        ("nan.json", '{"beta": NaN}', "NaN is no JSON number"),
        ("twice.json", '{"beta": 1, "beta": 2}', "the name 'beta' stands twice"),
        ("deep.json", "[" * 100_000, "JSON nested too deeply"),
        ("big.toml", f"n = {MANY}", "not TOML: "),
        ("hex.toml", f"n = 0x{'f' * 9000}", "n: an integer of more than 64 bits"),
        ("list.toml", f"beta = [0x{'f' * 9000}]", "beta: input should be"),
        ("deep.toml", "n = " + "[" * 5000, "not TOML: "),
    ],
)
def test_odd_configuration_files_are_one_line(name: str, text: str, told: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / name).write_text(text)
    out = ["--out", str(tmp_path / "run")]
    assert evals(["run", "--data", "pocket", "--limit", "1", "--config", str(tmp_path / name), *out, "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert len(error) < 400


@pytest.mark.parametrize(
    ("package", "argv", "extra"),
    [
        ("scipy", ["tune", "--data", "pocket", "--target-fallback", "0.2", "--out", "OUT"], "evals"),
        ("matplotlib", ["report", "RUN"], "evals"),
        ("torch", ["jko", "--targets", "8modes", "--out", "OUT"], "jko"),
    ],
)
def test_a_package_that_is_not_installed_is_named_with_its_extra(
    package: str, argv: list[str], extra: str, tmp_path: Path
) -> None:
    write(tmp_path / "run", list(campaign(2)))
    words = [{"OUT": str(tmp_path / "out"), "RUN": str(tmp_path / "run")}.get(word, word) for word in argv]
    code = f"import sys; sys.modules[{package!r}] = None; from evals.__main__ import main; sys.exit(main({words!r}))"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert done.stderr == f"error: `evals {argv[0]}` needs the package {package}: {install_extra(extra)}\n"


@pytest.mark.parametrize("name", ["jko", "jko-ablate", "jko-truth", "jko-gpu"])
def test_an_empty_folder_is_not_the_working_folder(name: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as exit:
        evals([name, "--out", ""])
    assert exit.value.code == 2
    error = capsys.readouterr().err
    assert "--out: want a path, got ''" in error
    assert error.count("\n") == 1


def test_every_command_of_neural_jko_has_a_line_in_the_page() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "evals.md").read_text("utf-8")
    lines = [line.removeprefix("| `python -m evals ").split()[0].strip("`") for line in page.splitlines()
             if line.startswith("| `python -m evals jko")]  # fmt: skip
    assert sorted(lines) == sorted(name for name in EVALS.commands if name.startswith("jko"))


def test_a_grader_that_is_not_installed_is_named_before_models_are_loaded(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"problem": "2?", "answer": 2}\n')
    argv = ["--data", str(tmp_path / "p.jsonl"), "--out", str(tmp_path / "run"), "--draft", "absent"]
    code = (
        "import evals.graders.grading as g; g.find_spec = lambda name: None\n"
        "from evals.run.plan import Workplace; from evals.run.solve import Solver\n"
        "from evals.run.command import plan_of\n"
        "from evals.run.command import add_arguments; from gsi_node.host.shell import Parser\n"
        "parser = Parser(); add_arguments(parser)\n"
        f"Solver(plan_of(parser.parse_args({argv!r})), Workplace(), lambda role, spec: 1 / 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=120)
    assert f"BackendUnavailable: grading needs the package mpmath: {install_extra('evals')}" in done.stderr


def test_ctrl_c_in_tune_is_130_and_no_traceback(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "evals", "tune", "--data", "pocket", "--target-fallback", "0.2", "--limit", "200"]
    process = subprocess.Popen(
        [*argv, "--out", str(tmp_path)], env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    limit = time.monotonic() + 240
    while not any(file.stat().st_size for file in tmp_path.glob("*/results.jsonl")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = waiting.told(process, 120.0)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    assert "the same command goes on" in told


def test_a_full_disk_under_a_report_is_one_line(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path, list(campaign(2)))

    def full(self: Path, *about: Any, **more: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    assert evals(["report", str(folder), "--no-plots"]) == 2
    assert capsys.readouterr().err.startswith(f"error: {folder}/report: cannot be written (No space left on device)")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(
    st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")), st.booleans()
)
def test_any_settings_file_is_read_or_refused(tmp_path: Path, data: bytes, toml: bool) -> None:
    file = tmp_path / ("tuned.toml" if toml else "tuned.json")
    file.write_bytes(data)
    try:
        assert isinstance(read_fields(str(file)), dict)
    except ConfigError as error:
        assert str(error).startswith(f"--config {file}: ")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(st.dictionaries(st.sampled_from(sorted(GSIConfig.model_fields)), SCALARS, max_size=4))
def test_any_values_of_tuned_settings_make_a_configuration_or_are_refused(tmp_path: Path, fields: Any) -> None:
    file = tmp_path / "tuned.json"
    file.write_text(json.dumps(fields))
    try:
        validated(read_fields(str(file)))
    except ConfigError as error:
        assert "\n" not in str(error)
