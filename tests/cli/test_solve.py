"""The command line over table models, in this process: problems, settings, output, and every mistake's one line."""

from __future__ import annotations

import io
import json
import math
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from gsi_node.cli.__main__ import main
from gsi_node.cli.problems import SAMPLE_PROBLEMS
from gsi_node.cli.settings import settings
from gsi_node.host.strict_json import finite
from gsi_node.needs import install_extra
from gsi_node.step.config import GSIConfig
from gsi_node.step.methods import METHODS
from gsi_node.tables.rewards import TableReward
from tests.graphs.tables import Table, command, compiled, models, parse
from tests.graphs.test_solver import untimed
from tests.token_world import tables

OPTIONS = ["--n", "3", "--beta", "4", "--threshold", "0.6"]
WHOLE = ("--step-end", "paragraph")  # the steps of the tables
Capture = pytest.CaptureFixture[str]


def objects(argv: list[str], capsys: Capture, parts: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """What --json writes; nothing but strict JSON, and nothing on standard error."""

    def no_constant(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    assert command([*OPTIONS, "--json", *argv], parts) == 0
    told = capsys.readouterr()
    assert told.err == ""
    return [json.loads(line, parse_constant=no_constant) for line in told.out.splitlines()]


def test_one_json_object_a_problem(capsys: Capture) -> None:
    found = objects(["two", "three"], capsys)
    assert [result["problem"] for result in found] == ["two", "three"]
    keys = {"problem", "problem_id", "response", "answer", "steps", "stop_reason", "usage", "acceptance_rate"}
    keys.add("degraded")
    assert [set(result) for result in found] == [keys, keys]
    graph = compiled()
    for result in found:
        alone = graph.invoke({"problem": result["problem"]})
        assert untimed({key: alone[key] for key in keys & set(alone)}) == untimed(
            {key: value for key, value in result.items() if key in alone}
        )


def test_several_samples_come_with_their_votes(capsys: Capture) -> None:
    (result,) = objects(["--samples", "3", "two"], capsys)
    assert [sample["problem_id"] for sample in result["samples"]] == [
        result["problem_id"] + end for end in ("", "/1", "/2")
    ]
    assert result["votes"][0]["answer"] == result["answer"]


def test_numbers_that_json_has_not_become_null(capsys: Capture) -> None:
    parts = models()
    draft = Table(0.4, "draft")
    draft._table = {"so \\boxed{9}": 1.0}  # the base never says this: ratio zero
    parts |= {"draft": draft, "reward": TableReward(lambda prefix, step: 0.9)}
    (result,) = objects(["two"], capsys, parts)
    assert result["steps"][0]["rejected"]["log_mean_weight"] is None
    assert finite([math.nan, (math.inf, 1.5), {"a": -math.inf}]) == [None, [None, 1.5], {"a": None}]


def test_with_no_problem_it_solves_the_sample_as_it_comes(capsys: Capture) -> None:
    found = objects([], capsys)
    assert tuple(result["problem"] for result in found) == SAMPLE_PROBLEMS
    assert parse([]).named == {}  # so the seed is the configuration's: 0
    assert GSIConfig().seed == 0


def test_problems_come_from_arguments_then_files_then_standard_input(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "problems.jsonl"
    file.write_text('{"problem": "from a file", "id": 7}\n\n{"problem": "again", "answer": "1"}\n', "utf-8-sig")
    monkeypatch.setattr("sys.stdin", io.StringIO('plain {1, 2}\n\n  {"problem": "as JSON", "problem_id": "x"}\n'))
    found = objects(["first", "-", "--file", str(file)], capsys)
    assert [result["problem"] for result in found] == ["first", "plain {1, 2}", "as JSON", "from a file", "again"]
    assert [found[i]["problem_id"] for i in (2, 3)] == ["x", "7"]


def test_settings_in_their_order(tmp_path: Path) -> None:
    toml, plain = tmp_path / "a.toml", tmp_path / "a.json"
    toml.write_text("n = 5\nbeta = 2.5\nseed = 3\n")
    plain.write_text('{"n": 5, "method": "rsd-n", "log_c": 1.5}')
    assert settings(parse([])) == GSIConfig(n=8)
    assert settings(parse(["--config", str(toml)])) == GSIConfig(n=5, beta=2.5, seed=3)
    assert settings(parse(["--config", str(toml), "--n", "6", "--seed", "4"])) == GSIConfig(n=6, beta=2.5, seed=4)
    argv = ["--config", str(toml), "--n", "6", "--set", "n=7", "--set", "record=candidates", "--set", "max-tokens=99"]
    assert settings(parse(argv)) == GSIConfig(n=7, beta=2.5, seed=3, record="candidates", max_tokens=99)
    assert settings(parse(["--config", str(plain), "--set", "log_c=none"])) == GSIConfig(n=5, method="rsd-n")


def test_a_page_tells_accepted_and_refused_apart_without_colour(capsys: Capture) -> None:
    assert command([*OPTIONS, "--samples", "2", "What is [12] * 2?"]) == 0
    page = capsys.readouterr().out
    assert "What is [12] * 2?" in page  # brackets are no markup
    for mark in ("✓ draft", "✗ draft", "↻ base", "refused: r̃", "< u 0.6", "answer 7", "votes 7:", "#1 5", "ess "):
        assert mark in page
    assert "\x1b" not in page
    assert max(map(len, page.splitlines())) <= 80 + 12  # combining characters have no width
    assert all(line == line.rstrip() for line in page.splitlines())
    rows = [line.split() for line in page.splitlines() if line.startswith((" draft", " base", " reward"))]
    assert [row[0] for row in rows] == ["draft", "base", "reward"]
    assert "steps accepted (" in page


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_page(method: str, capsys: Capture) -> None:
    parts = None
    if METHODS[method].propose == "specdec":
        parts = {**models(), **dict(zip(("draft", "base"), tables(5), strict=True))}
        parts["reward"] = TableReward(lambda prefix, step: 0.5)
    assert command([*OPTIONS, "--method", method, "--set", "delta=0.8", "--set", "log_c=3", *WHOLE, "two"], parts) == 0
    assert "answer" in capsys.readouterr().out


def test_no_method_is_asked_for_what_it_does_not_read(capsys: Capture) -> None:
    """A reward that could not be loaded, and a β that no tilt could have."""
    parts = {**models(), "reward": "prm:/nowhere/at/all"}
    for method in ("cgs", "lgs"):
        told = ["--method", method, "--beta", "0", "--reward", "prm:/nowhere/at/all", *WHOLE]
        assert command([*OPTIONS, *told, "--json", "two"], parts) == 0
        assert set(json.loads(capsys.readouterr().out)["usage"]) == {"draft", "base"}


def test_a_model_cannot_write_control_characters(capsys: Capture) -> None:
    parts = models()
    draft = Table(0.4, "draft")
    draft._table = {"\x1b[31mred \\boxed{\x07}": 1.0}
    assert command(["--method", "draft", "two"], parts | {"draft": draft}) == 0
    assert "\\x1b[31mred \\boxed{\\x07}" in capsys.readouterr().out


def test_the_methods_are_listed(capsys: Capture) -> None:
    told = []
    for argv in (["methods"], ["solve", "--list-methods"]):
        assert main(argv) == 0
        told.append(capsys.readouterr().out)
    assert told[0] == told[1]
    listed = [line.split()[0] for line in told[0].splitlines() if line.startswith(" ")][1:]
    assert [name for name in listed if name in METHODS] == list(METHODS)


def mistake(argv: list[str], capsys: Capture, parts: dict[str, Any] | None = None) -> tuple[int, str]:
    """The exit code and the one line of a call that must fail."""
    code = command(argv, parts)
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert told.count("\n") == 1
    assert "Traceback" not in told
    return code, told


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["  "], "problem 1: the problem is empty, got '  '"),
        (["--file", "nowhere.jsonl"], "nowhere.jsonl: No such file"),
        (["--file", "."], "Is a directory"),
        (["--file", "{folder}/bad.jsonl"], "bad.jsonl, line 3: not JSON"),
        (["--file", "{folder}/list.jsonl"], 'list.jsonl, line 1: want an object with a text "problem", got [1]'),
        (["--file", "{folder}/empty.jsonl"], "empty.jsonl"),
        (["--file", "{folder}/latin.jsonl"], "not UTF-8"),
        (["--method", "gsi2", "x"], "method: unknown 'gsi2'; known: gsi,"),
        (["--draft", "pocket:drift", "x"], "pocket:drift"),
        (["--n", "0", "x"], "n: input should be greater than or equal to 1, got '0'"),
        (["--n", "many", "x"], "got 'many'"),
        (["--beta", "nan", "x"], "beta"),
        (["--beta", "-1", "x"], "got '-1'"),
        (["--samples", "0", "x"], "--samples: want an integer ≥ 1, got '0'"),
        (["--set", "betta=1", "x"], "--set: no field 'betta'; the fields are method, n,"),
        (["--set", "beta", "x"], "'beta': want field=value"),
        (["--set", "max_tokens=0", "x"], "max_tokens"),
        (["--config", "nowhere.toml", "x"], "nowhere.toml: No such file"),
        (["--config", "{folder}/bad.jsonl", "x"], "not JSON"),
        (["--config", "{folder}/bad.toml", "x"], "not TOML"),
        (["--config", "{folder}/list.jsonl", "x"], "want an object"),
        (["--config", "{folder}/field.json", "x"], "no field 'betta'"),
        (["--thread", "t", "x"], "add --checkpoint"),
        (["--nonsense", "x"], "--nonsense"),
        (["--checkpoint", "{folder}", "x"], "is a folder"),
        (["--checkpoint", "a\udcff.sqlite", "x"], "--checkpoint: want printable UTF-8 text"),
        (["--checkpoint", "a.sqlite", "--thread", "\udcff", "x"], "--thread: want printable UTF-8 text"),
        (["caf\udce9"], "problem 1: the problem is no UTF-8 text: '\\udce9' at 3"),
        (["--file", "{folder}/half.jsonl"], "half.jsonl, line 1: the problem is no UTF-8 text: '\\ud800' at 0"),
        (["--file", "{folder}/half-id.jsonl"], "half-id.jsonl, line 1: the id is no UTF-8 text"),
        (["--file", "{folder}/deep.jsonl"], "deep.jsonl, line 1: JSON nested too deeply"),
        (["--file", "{folder}/digits.jsonl"], "digits.jsonl, line 1: an integer of more than 4300 digits"),
        (["--file", "{folder}/nan.jsonl"], "nan.jsonl, line 1: NaN is no JSON number"),
        (["--file", "{folder}/blank-lines.jsonl"], "no problem in {folder}/blank-lines.jsonl"),
        (["--config", "{folder}/deep.jsonl", "x"], "deep.jsonl: JSON nested too deeply"),
        (["--config", "{folder}/digits.jsonl", "x"], "digits.jsonl: an integer of more than 4300 digits"),
        (["--config", "{folder}/digits.toml", "x"], "digits.toml: not TOML: Exceeds the limit"),
        (["--config", "{folder}/nan.json", "x"], "nan.json: NaN is no JSON number"),
        (["--n", "9" * 5000, "x"], "n: unable to parse"),
        (["--set", "seed=" + "9" * 400, "x"], "seed: "),
        (["--samples", "9" * 5000, "x"], "want an integer ≥ 1, got"),
        (["--samples", "9999999", "x"], "at most 1,000,000"),
        (["--checkpoint", "{folder}/no/file.sqlite", "x"], "there is no folder"),
        (["--checkpoint", "{folder}/bad.jsonl", "x"], "file is not a database"),
        (["--checkpoint", "{folder}/other.sqlite", "x"], "of another program (tables cats)"),
    ],
)
def test_mistakes(argv: list[str], named: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "bad.jsonl").write_text('{"problem": "good"}\n\n{"problem": \n' + " " * 200)
    (tmp_path / "list.jsonl").write_text("[1]\n")
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "latin.jsonl").write_bytes('{"problem": "é"}'.encode("latin-1"))
    (tmp_path / "bad.toml").write_text("n = \n")
    (tmp_path / "field.json").write_text('{"betta": 1}')
    (tmp_path / "half.jsonl").write_text('{"problem": "\\ud800"}')
    (tmp_path / "half-id.jsonl").write_text('{"problem": "x", "id": "\\ud800"}')
    (tmp_path / "deep.jsonl").write_text('{"problem": ' + "[" * 100_000)
    (tmp_path / "digits.jsonl").write_text('{"problem": "x", "id": ' + "9" * 5000 + "}")
    (tmp_path / "digits.toml").write_text("n = " + "9" * 5000)
    (tmp_path / "nan.jsonl").write_text('{"problem": "x", "id": NaN}')
    (tmp_path / "nan.json").write_text('{"beta": NaN}')
    (tmp_path / "blank-lines.jsonl").write_text("\n \n")
    with sqlite3.connect(tmp_path / "other.sqlite") as connection:
        connection.execute("CREATE TABLE cats (name TEXT)")
    connection.close()
    code, told = mistake([item.replace("{folder}", str(tmp_path)) for item in argv], capsys)
    assert code == 2
    assert named.replace("{folder}", str(tmp_path)) in told
    assert len(told) < 1000
    with sqlite3.connect(tmp_path / "other.sqlite") as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("cats",)]
    connection.close()


def test_a_model_that_fails_under_way_is_exit_code_1(capsys: Capture) -> None:
    parts = models()
    parts["reward"] = TableReward(lambda prefix, step: 2.0, name="wrong")
    code, told = mistake(["two"], capsys, parts)
    assert (code, "wrong gave 2.0" in told) == (1, True)
    parts = models()
    parts["draft"].fail_at = (compiled().invoke({"problem": "two"})["samples"][0]["problem_id"], 1)
    assert mistake(["two"], capsys, parts) == (1, "error: model draft broke at step 1\n")


def test_a_finished_thread_shows_its_result_again_and_other_settings_are_refused(
    tmp_path: Path, capsys: Capture
) -> None:
    named = [*OPTIONS, "--checkpoint", str(tmp_path / "a.sqlite"), "--thread", "monday", "two"]
    assert command(named) == 0
    first = capsys.readouterr()
    parts = models()
    assert command(named, parts) == 0
    second = capsys.readouterr()
    assert second.err == "thread monday is finished: its result is shown again\n"
    assert parts["draft"].asked == []
    assert [line for line in second.out.splitlines() if " s" not in line] == [
        line for line in first.out.splitlines() if " s" not in line
    ]
    code, told = mistake([*named, "--beta", "5"], capsys)
    assert code == 2
    assert "beta: 4.0 there, 5.0 here" in told
    assert "problem: 'two' there, 'other' here" in mistake([*named[:-1], "other"], capsys)[1]
    assert "n_samples: 1 there, 2 here" in mistake([*named, "--samples", "2"], capsys)[1]


def test_several_problems_get_a_thread_each_and_threads_name_themselves(tmp_path: Path, capsys: Capture) -> None:
    file = str(tmp_path / "a.sqlite")
    assert command([*OPTIONS, "--checkpoint", file, "--thread", "t", "two", "three"]) == 0
    assert command([*OPTIONS, "--checkpoint", file, "four"]) == 0
    assert "begun anew" not in capsys.readouterr().err
    assert command([*OPTIONS, "--checkpoint", file, "--beta", "5", "four"]) == 0  # other settings: another thread
    told = " ".join(capsys.readouterr().err.split())
    assert told.count("begun anew: thread ") == 1 and "has this problem, with other settings" in told
    with sqlite3.connect(file) as connection:
        threads = {row[0] for row in connection.execute("SELECT DISTINCT thread_id FROM checkpoints")}
    connection.close()
    assert threads >= {"t/0", "t/1"}
    assert len(threads) == 4
    assert command([*OPTIONS, "--checkpoint", file, "four"]) == 0
    assert "is finished" in capsys.readouterr().err


def test_a_missing_package_is_named(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiosqlite", None)
    code, told = mistake(["--checkpoint", str(tmp_path / "a.sqlite"), "two"], capsys)
    assert (code, "aiosqlite" in told, install_extra("sqlite") in told) == (2, True, True)
