"""Data files with odd, hostile or useless lines: refused when they are read, by place, before a model is paid for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evals.graders.gradable import load_gradable as load
from evals.graders.grading import Grader
from gsi_node.errors import ConfigError
from tests.evals.data.test_datasets import ids, write

GRADER = Grader()  # its process ends with this one


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{"problem": "2?", "answer": 2, "meta": {"rel_tol": "wide"}}],
            r"line 1: meta.rel_tol: input should be a valid n",
        ),
        ([{"problem": "2?", "answer": 2, "meta": {"rel_tol": [0.1]}}], r"line 1: meta.rel_tol"),
        (
            [{"problem": "2?", "answer": 2, "meta": {"abs_tol": -1}}],
            r"line 1: meta.abs_tol: .* greater than or equal to 0",
        ),
        ([{"problem": "2?", "answer": 2, "meta": {"rel_tol": 10**400}}], r"line 1: meta.rel_tol"),
        ([{"problem": "2?", "answer": 2, "meta": {"unit": 7}}], r"line 1: meta.unit"),
        ([{"problem": "2?", "answer": 2, "meta": {"several": "yes"}}], r"line 1: meta.several"),
        (
            [{"problem": "2?", "answer": 2, "meta": {"tol": 1}}],
            r"line 1: meta.tol: extra .*\(meta may hold rel_tol, abs_tol",
        ),
        ([{"problem": "2?", "answer": 2, "meta": None}], r"line 1: meta must be an object, but it is None"),
        ([{"problem": "2?", "answer": "two", "kind": "exact"}], r"line 1: an exact answer is an integer or a fraction"),
        ([{"problem": "2?", "answer": "1/0", "kind": "exact"}], r"line 1: an exact answer is"),
        ([{"problem": "2?", "answer": "7" * 2001}], r"line 1: the answer has 2001 characters"),
        ([{"problem": "2?", "answer": "7\x07"}], r"line 1: the answer holds control characters"),
        ([{"problem": "\ud800?", "answer": 2}], r"line 1: the problem holds a lone surrogate"),
        ([{"problem": "2?", "answer": 2, "id": "\udc00"}], r"line 1: the id holds a lone surrogate"),
        ([{"problem": "2?", "answer": 2, "id": "\x1b[2J"}], r"line 1: the id holds control characters"),
        ([{"problem": "2?", "answer": 2, "id": [1]}], r"line 1: id must be a text or a number, but it is \[1\]"),
        ([{"problem": "2?", "answer": 2, "id": True}], r"line 1: id must be a text or a number"),
        ([{"problem": "2?", "answer": 2, "id": " "}], r"line 1: id must be a text or a number"),
        (
            [{"problem": "2?", "answer": 0, "choices": ["x", {}]}],
            r"line 1: a choice is a text or a number, but one is {}",
        ),
        ([{"problem": "2?", "answer": 0, "choices": ["x", None]}], r"line 1: a choice is a text"),
    ],
)
def test_a_problem_that_nothing_could_grade_is_named(tmp_path: Path, rows: list[Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(str(write(tmp_path / "own.jsonl", rows)))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"problem": "2?", "answer": NaN}', "NaN is no JSON number"),
        (b'{"problem": "2?", "answer": 1e999}', "the number 1e999 is beyond the largest float"),
        (b'{"problem": "2?", "answer": ' + b"7" * 5000 + b"}", "an integer of more than 4300 digits"),
        (b'{"problem": "2?", "answer": 2, "answer": 3}', "the name 'answer' stands twice"),
        (b"[" * 100_000 + b"]" * 100_000, "JSON nested too deeply"),
        (b'{"problem": "2?", "answer": 2, "meta": ' + b'{"a":' * 900 + b"1" + b"}" * 901, "meta.a"),
        (b'{"problem": "\xff", "answer": 2}', "cannot be read: it is not UTF-8 text"),
        (b"null", "a line must be a JSON object"),
        (b'"text"', "a line must be a JSON object"),
    ],
)
def test_odd_json_is_named(line: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    file.write_bytes(b'{"problem": "1?", "answer": 1}\n' + line + b"\n")
    with pytest.raises(ConfigError) as refused:
        load(str(file))
    told = str(refused.value)
    assert message in told
    assert ("line 2" in told) or "UTF-8" in told
    assert len(told) < 400


def test_separators_of_unicode_and_a_byte_order_mark_end_no_line(tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    texts = ["one\u2028two", "one\u2029two", "one\x85two", "one\x1ctwo", "one\x0btwo"]
    lines = [json.dumps({"problem": text, "answer": 1}, ensure_ascii=k % 2 == 1) for k, text in enumerate(texts)]
    lines[:3] = [json.dumps({"problem": text, "answer": 1}, ensure_ascii=False) for text in texts[:3]]
    file.write_bytes(("\ufeff" + "\r\n".join(lines)).encode())
    assert [problem.problem for problem in load(str(file))] == texts


def test_equal_ids_are_told_apart_whatever_else_is_called_so(tmp_path: Path) -> None:
    rows = [{"problem": f"{k}?", "answer": k, "id": id} for k, id in enumerate(["x", "x#2", "x", "x", "x#2", "x#2#2"])]
    found = ids(load(str(write(tmp_path / "own.jsonl", rows))))
    assert len(set(found)) == 6
    assert found[:2] == ["x", "x#2"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("problem", "question", "answer", "final_answer", "solution", "choices", "kind", "meta", "id", "unit", "error")
META = st.dictionaries(st.sampled_from(["rel_tol", "abs_tol", "unit", "several", "type"]), VALUES, max_size=3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(
    st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6),
    st.sampled_from(["own", "olympiadbench", "minerva_math", "mmlu_stem", "gsm8k", "math500"]),
    META | VALUES,
)
def test_any_row_is_a_problem_that_can_be_graded_or_is_named(
    tmp_path: Path, fields: dict[str, Any], name: str, meta: Any
) -> None:
    row = {"problem": "2?", "question": "2?", "answer": 2, "choices": None, "meta": meta, **fields}
    (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    try:
        found = load(str(tmp_path / "own.jsonl") if name == "own" else name, data_dir=tmp_path)
    except ConfigError as error:
        assert f"{name}.jsonl, line 1: " in str(error)
        return
    for problem in found:
        assert GRADER.grade(problem, f"\\boxed{{{problem.answer}}}").correct is not None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(st.binary(max_size=60))
def test_any_file_is_read_or_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "own.jsonl").write_bytes(data)
    with pytest.raises(ConfigError, match="own.jsonl"):
        load(str(tmp_path / "own.jsonl"))
