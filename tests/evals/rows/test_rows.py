"""results.jsonl and config.json as they are read: nothing damaged, odd or hostile gets through, and old folders do."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evals.__main__ import main as evals
from evals.data.problems import Problem
from evals.rows.appender import Appender
from evals.rows.lines import read_results, read_rows, row_of, to_line
from evals.rows.row import Row
from evals.rows.sealed import sealed
from evals.run.config import read_config
from evals.run.folder import keep
from evals.run.plan import Plan, Workplace
from evals.run.record import blank_row
from gsi_node.errors import ConfigError
from tests.evals.synthetic import campaign, config_of, line_of, write

Capture = pytest.CaptureFixture[str]
PLAN = Plan(
    data="made",
    problems=tuple(Problem(name, "?", "7", "math") for name in "abc"),
    methods=("gsi",),
    ns=(1,),
    seeds=(0,),
    specs={"draft": "-", "base": "-", "reward": "-"},
    fields={},
    record="summary",
)
WRONG = {"correct": False}


def record(name: str, **fields: Any) -> dict[str, Any]:
    """A small row as its line says it, whatever `fields` say; graded as wrong where they do not say otherwise."""
    task = next(task for task in PLAN.tasks() if PLAN.problems[task.place].id == name)
    return {**blank_row(PLAN, Workplace(), task).model_dump(exclude_unset=True), **WRONG, **fields}


def row(name: str, **fields: Any) -> Row:
    """The same as a row."""
    return Row.model_validate(record(name, **fields))


def old(one: dict[str, Any] | Row) -> bytes:
    """A row as the version of before checksums wrote it."""
    told = one.model_dump(exclude_unset=True) if isinstance(one, Row) else one
    return (
        json.dumps({name: value for name, value in told.items() if name != "ungraded"} | {"schema": 1}).encode() + b"\n"
    )


def flips(file: Path) -> Iterator[int]:
    """Each bit of a file in turn, while the file has that one flipped."""
    whole = file.read_bytes()
    descriptor = os.open(file, os.O_WRONLY)
    try:
        for bit in range(8 * len(whole)):
            place, byte = bit // 8, whole[bit // 8]
            os.pwrite(descriptor, bytes([byte ^ 1 << bit % 8]), place)
            yield bit
            os.pwrite(descriptor, bytes([byte]), place)
    finally:
        os.close(descriptor)


def test_every_flipped_bit_of_a_results_file_is_found_or_harmless(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    file.write_bytes(to_line(row("a")) + to_line(row("b")))
    rows = read_rows(tmp_path)
    for bit in flips(file):
        try:
            found = read_results(tmp_path)
        except ConfigError as error:
            assert str(error).startswith(f"{file}, line ")
            assert "--repair" in str(error)
        else:
            assert found.rows == rows or (found.rows == rows[:1] and found.cut_off), f"bit {bit} changed a row unseen"


def test_every_flipped_bit_of_a_configuration_is_found_or_harmless(tmp_path: Path) -> None:
    keep(tmp_path, PLAN, {"draft": "1"})
    file, config = tmp_path / "config.json", read_config(tmp_path)
    for _ in flips(file):
        try:
            assert read_config(tmp_path) == config
        except ConfigError as error:
            assert str(error).startswith(str(file))


ODD = {
    "a list": b"[]\n",
    "null": b"null\n",
    "an empty object": b"{}\n",
    "an empty line": b"\n",
    "no JSON": b"nonsense\n",
    "deep JSON": b"[" * 100_000 + b"]" * 100_000 + b"\n",
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"\n",
    "an integer of 5000 digits": b'{"schema": 1, "n": ' + b"7" * 5000 + b"}\n",
    "NaN": b'{"schema": 1, "n": NaN}\n',
    "not UTF-8": b'{"schema": 1, "n": "\xff"}\n',
    "UTF-16": '{"schema": 1}\n'.encode("utf-16"),
    "another schema": b'{"schema": 3}\n',
    "schema true": b'{"schema": true}\n',
    "a schema that is a list": b'{"schema": [[[]]]}\n',
    "no checksum": b'{"schema": 2}\n',
    "too few fields": b'{"schema": 1}\n',
    "steps of another shape": old(record("a", steps=[7])),
    "a reward that is a text": old(record("a", steps=[{"source": "draft", "reward": "high"}])),
    "a number that no float holds": old(row("a")).replace(b'"seconds": 0.0', b'"seconds": 1e999'),
    "a seed of 400 digits": old(row("a")).replace(b'"seed": 0', b'"seed": ' + b"1" * 400),
    "an index beyond any set": old(record("a", index=10**9)),
    "steps within steps": old(row("a")).replace(
        b'"steps": []', b'"steps": [' + b'{"source": "draft", "rejected": ' * 900 + b"null" + b"}" * 900 + b"]"
    ),
    "neither right nor wrong": old(row("a", correct=None)),
}


@pytest.mark.parametrize("what", ODD)
def test_odd_lines_are_refused_in_one_line(what: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config_of(schema=1)))
    (tmp_path / "results.jsonl").write_bytes(old(row("b")) + ODD[what])
    assert evals(["report", str(tmp_path), "--no-plots"]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: {tmp_path}/results.jsonl, line 2: ")
    assert told.count("\n") == 1
    assert len(told) < 500


@pytest.mark.parametrize("what", [*ODD, "absent", "a folder"])
def test_an_odd_configuration_is_refused_by_all_that_read_it(what: str, tmp_path: Path, capsys: Capture) -> None:
    sound, broken = write(tmp_path / "a", list(campaign(3))), write(tmp_path / "b", list(campaign(3)))
    file = broken / "config.json"
    file.unlink()
    if what == "a folder":
        file.mkdir()
    elif what != "absent":
        file.write_bytes(ODD[what])
    for argv in (["report", str(broken), "--no-plots"], ["compare", str(sound), str(broken)]):
        assert evals(argv) == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err.startswith(f"error: {broken}")
        assert told.err.count("\n") == 1


def test_rows_and_configurations_without_checksums_are_read_and_counted(tmp_path: Path, capsys: Capture) -> None:
    write(tmp_path, [])
    (tmp_path / "config.json").write_text(
        json.dumps({k: v for k, v in config_of(schema=1).items() if not k.endswith("_seconds")})
    )
    (tmp_path / "results.jsonl").write_bytes(old(row("a")) + old(row("c")) + to_line(row("b")))
    found = read_results(tmp_path)
    assert ([one.problem_id for one in found.rows], found.unchecked) == (["a", "c", "b"], 2)
    assert [one.ungraded for one in found.rows] == [None] * 3
    assert evals(["report", str(tmp_path), "--no-plots"]) == 0
    assert "> 2 of 3 rows have no checksum" in capsys.readouterr().out


@pytest.mark.parametrize("reason", ["grading took longer than 5 s", "the grading process died"])
def test_an_old_row_whose_grading_ended_early_is_not_wrong(reason: str, tmp_path: Path) -> None:
    found, _ = row_of(old(row("a", predicted="x", reason=reason)), "here")
    assert (found.correct, found.ungraded, found.reason) == (None, reason, None)


def test_a_line_that_was_cut_off_is_dropped_and_told(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "results.jsonl"
    write(tmp_path, [])
    whole = to_line(row("a")) + to_line(row("b", seconds=float("1e99")))
    file.write_bytes(whole + to_line(row("c"))[:-1])
    assert [found.problem_id for found in read_rows(tmp_path)] == ["a", "b"]
    assert evals(["report", str(tmp_path), "--no-plots"]) == 0
    assert "results.jsonl: the last line has no end" in capsys.readouterr().out.replace("\\", "")
    with Appender(file) as appender:
        assert file.read_bytes() == whole
        assert appender.cut_off == len(to_line(row("c"))) - 1
        appender.append(to_line(row("c")))
    assert [found.problem_id for found in read_rows(tmp_path)] == ["a", "b", "c"]
    file.write_bytes(b"x" * 200_000)  # no line at all
    Appender(file).close()
    assert file.read_bytes() == b""
    with pytest.raises(ConfigError, match="no run folder"):
        read_rows(tmp_path / "nowhere")


def test_a_later_row_stands_for_one_that_knows_less_but_not_the_other_way_round(tmp_path: Path) -> None:
    failed = {"error": {"type": "BackendError", "message": "broke"}, "correct": None}
    ungraded = {"ungraded": "the grading process died", "correct": None}
    lines = [row("a", **failed), row("a"), row("b"), row("b", **failed), row("c", **failed), row("c", **ungraded)]
    lines += [row("a", **ungraded), row("c", **failed)]
    (tmp_path / "results.jsonl").write_bytes(b"".join(map(to_line, lines)))
    found = {one.problem_id: (one.correct, one.error, one.ungraded) for one in read_rows(tmp_path)}
    assert found == {"a": (False, None, None), "b": (False, None, None), "c": (None, None, ungraded["ungraded"])}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
QUICK = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)


@QUICK
@given(st.binary(max_size=80) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_line_is_a_row_or_a_typed_error(tmp_path: Path, line: bytes) -> None:
    for data in (line + b"\n", sealed(line) if line.rstrip().endswith(b"}") else line):
        with pytest.raises(ConfigError):
            row_of(data, "here")
        (tmp_path / "config.json").write_bytes(data)
        with pytest.raises(ConfigError):
            read_config(tmp_path)


@QUICK
@given(st.sampled_from(sorted(record("a"))), JSON)
def test_a_row_with_any_value_in_a_field_reports_or_is_refused(tmp_path: Path, name: str, value: Any) -> None:
    write(tmp_path, list(campaign(2, ("gsi",), (1,), (0,))))
    with (tmp_path / "results.jsonl").open("ab") as file:
        file.write(line_of(record("b", **{name: value})))
    assert evals(["report", str(tmp_path), "--no-plots"]) in (0, 2)


@QUICK
@given(st.sampled_from(sorted(config_of())), JSON)
def test_a_configuration_with_any_value_in_a_field_is_read_or_refused(tmp_path: Path, name: str, value: Any) -> None:
    text = json.dumps(config_of(**{name: value}))
    (tmp_path / "config.json").write_bytes(sealed(text.encode()))
    try:
        assert read_config(tmp_path).told().keys() == config_of().keys()
    except ConfigError as error:
        assert str(error).startswith(str(tmp_path))


def test_a_line_that_is_read_and_written_again_is_the_same_line() -> None:
    """Field by field in the order that a run writes, the open fields of a record last, absent ones absent."""
    numbers = dict.fromkeys(("reward", "log_prob_draft", "log_prob_base", "log_ratio", "log_ratio_error"), 0.5)
    numbers["tilted_reward"] = -3e-7
    candidates = [{"text": "a", **numbers, "n_tokens": 1}, {"text": "b\n\n", **numbers, "n_tokens": 2}]
    about = {"ess": 1.5, "log_mean_weight": None, "n_candidates": 2, "candidates": candidates}
    scan = {"scan": {"n_scored": 2, "hit": True, "n_clipped": 0}}
    refused = {"text": None, "source": "draft", "accepted": False, **numbers, **about, **scan, "n_tokens": None}
    step = {"text": "a", "source": "base", "accepted": False, **numbers, **about, "rejected": refused, "n_tokens": 1}
    bill = {"generated_tokens": 7, "scored_tokens": 0, "calls": 2, "seconds": 0.25}
    votes = [{"answer": "7", "voters": [0, 2]}]
    whole = record("a", steps=[step], usage={"draft": bill}, flops={"draft": 2e9}, models_seconds=0.25, votes=votes)
    failed = record("b", correct=None, error={"type": "BackendError", "message": "broke"})
    for line in map(line_of, (whole, failed)):
        assert to_line(row_of(line, "here")[0]) == line
