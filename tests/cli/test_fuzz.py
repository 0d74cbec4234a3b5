"""Whatever stands in a configuration, a file of problems or on the command line: a job, or a typed error."""

from __future__ import annotations

import io
import json
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gsi_node.cli.problems import gather
from gsi_node.cli.settings import settings as settings_of
from gsi_node.errors import ConfigError
from gsi_node.neural_jko.check import CheckedTarget
from gsi_node.neural_jko.config import JKOConfig
from gsi_node.neural_jko.presets import configured
from gsi_node.neural_jko.run import Run
from gsi_node.neural_jko.saved import load, save
from gsi_node.neural_jko.stack import Stack
from gsi_node.step.config import GSIConfig
from tests.graphs.tables import parse
from tests.neural_jko.small import QUICK, gaussian

ANY_TEXT = st.text(st.characters(), max_size=12)  # lone surrogates, too
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.just(10**4000)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3))
LETTER = st.characters(exclude_characters="\0", exclude_categories=["Cs"]) | st.just("\udcff")  # of an argument
ARGUMENT = st.text(LETTER, max_size=12)
NAMED = st.sampled_from(["--n", "--beta", "--seed", "--set", "--samples", "--thread", "--method"])
FIELD = st.sampled_from(list(GSIConfig.model_fields))
SET = st.tuples(st.just("--set"), st.builds("{}={}".format, FIELD, ARGUMENT))
ROW = st.fixed_dictionaries({"problem": ANY_TEXT}, optional={"id": JSON, "problem_id": JSON})


def outcome(argv: list[str], stdin: str = "") -> str:
    """Read a command line as the solver does; what was wrong with it, or an empty text."""
    try:
        arguments = parse(argv)
        config = settings_of(arguments)
        problems = gather(arguments.problems, arguments.files, io.StringIO(stdin))
    except ConfigError as error:
        return str(error)
    except SystemExit as stop:
        assert stop.code in (0, 2)
        return "exit"
    assert isinstance(config, GSIConfig)
    for problem in problems:
        assert problem.text.strip()
        (problem.text + problem.problem_id).encode()
    return ""


def in_a_file(content: bytes, suffix: str, *before: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"file{suffix}"
        path.write_bytes(content)
        return outcome([*before, str(path)] if before[-1] == "--file" else [*before, str(path), "a problem"])


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(FIELD | ANY_TEXT, JSON, max_size=3) | JSON)
def test_any_json_as_a_configuration(content: object) -> None:
    in_a_file(json.dumps(content).encode(), ".json", "--config")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60), st.sampled_from([".json", ".toml", ".jsonl"]))
def test_any_bytes_as_a_configuration_or_problems(content: bytes, suffix: str) -> None:
    in_a_file(content, suffix, "--file" if suffix == ".jsonl" else "--config")


@settings(max_examples=150, deadline=None)
@given(st.lists(ROW | JSON, max_size=3))
def test_any_json_as_problems(rows: list[object]) -> None:
    content = "\n".join(map(json.dumps, rows))
    in_a_file(content.encode(), ".jsonl", "--file")
    outcome(["-"], content)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(NAMED, ARGUMENT) | SET | st.tuples(ARGUMENT), max_size=3), st.text(max_size=20))
def test_any_values_on_the_command_line(options: list[tuple[str, ...]], stdin: str) -> None:
    outcome([part for option in options for part in option], stdin)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from([*JKOConfig.model_fields, "unknown"]), JSON, max_size=4))
def test_any_settings_of_neural_jko(changes: dict[str, object]) -> None:
    try:
        config = configured("cpu", "8modes", changes)
    except ConfigError:
        return
    assert config.plan()
    assert config.tau_of(len(config.plan()) - 1) > 0
    json.dumps(config.model_dump(mode="json"), allow_nan=False)


FLOW = {"kind": "flow", "file": "f", "width": 4, "depth": 1, "steps": 1, "solver": "rk4"}
NAMES = ["target", "dim", "device", "log_density", "layers", "format", "latent_mean", "latent_scale", "tau", "seed"]


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), JSON, max_size=4) | JSON, st.sampled_from(["config.json", "stack.json"]))
@example({"latent_scale": 10**4000}, "stack.json")
@example({"latent_mean": [10**4000, 0]}, "stack.json")
@example({"log_density": [10**4000] * 64}, "stack.json")
@example({"log_density": [10**4000] * 64}, "config.json")
@example({"log_density": [None] * 64}, "stack.json")
@example({"layers": [{"kind": "rejection", "log_c": 10**4000, "accept_prob": 1}]}, "stack.json")
@example({"layers": [{**FLOW, "width": 10**30}]}, "stack.json")
@example({"layers": [{**FLOW, "width": -4, "depth": -1}]}, "stack.json")
@example({"layers": [{**FLOW, "solver": []}]}, "stack.json")
@example({"layers": [{**FLOW, "file": "\0"}]}, "stack.json")
def test_any_json_in_the_files_of_a_neural_jko_run(content: object, name: str) -> None:
    target = gaussian(2)
    with tempfile.TemporaryDirectory() as folder:
        Run(target, QUICK, Path(folder))
        save(Stack(CheckedTarget(target)), Path(folder))
        about = json.loads((Path(folder) / name).read_text("utf-8"))
        changed = {**about, **content} if isinstance(content, dict) else content
        (Path(folder) / name).write_text(json.dumps(changed), "utf-8")
        for read in (lambda: Run(target, QUICK, Path(folder)).finished(), lambda: load(Path(folder), target)):
            with suppress(ConfigError):
                read()


def test_the_fuzzed_reader_does_find_things(tmp_path: Path) -> None:
    """The other tests would pass if nothing were read at all."""
    assert outcome(["x"]) == ""
    assert "no field 'betta'" in in_a_file(b'{"betta": 1}', ".json", "--config")
    assert "line 1: not JSON" in in_a_file(b'{"problem"', ".jsonl", "--file")
    with pytest.raises(ConfigError, match="unknown"):
        configured("cpu", "8modes", {"unknown": 1})
