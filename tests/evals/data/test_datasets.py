"""Loading: every layout from rows made here, the places looked in, samples and splits, refusals that name the place."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evals.data.problems import Problem
from evals.graders.gradable import load_gradable as load
from gsi_node.errors import ConfigError

ROWS: dict[str, list[dict[str, Any]]] = {
    "math500": [{"problem": "One half?", "answer": r"\frac{1}{2}", "unique_id": "test/algebra/1.json", "level": 1}],
    "gsm8k": [{"question": "Eggs?", "answer": "3 * 700 = <<3*700=2100>>2100\n#### 2,100"}],
    "minerva_math": [
        {"problem": "Luminosity?", "solution": r"First \boxed{1}, then \boxed{4.5e33} erg", "idx": 7},
        {"question": "Taken out?", "answer": "1.6"},
    ],
    "mmlu_stem": [
        {"question": "Which?", "choices": ["one", "two", "three", "four"], "answer": 2},
        {"question": "Which?", "choices": ["one", "two", "three", "four"], "answer": "B"},
    ],
    "olympiadbench": [
        {
            "id": 1606,
            "question": "How wide?",
            "context": "A river.",
            "final_answer": ["$4.2$"],
            "is_multiple_answer": False,
            "unit": "%",
            "error": "1e-1",
            "answer_type": "Numerical",
        }
    ],
}


def write(path: Path, rows: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, rows in ROWS.items():
        write(tmp_path / f"{name}.jsonl", rows)
    return tmp_path


def test_math500(folder: Path) -> None:
    assert load("math500", data_dir=folder) == [Problem("test/algebra/1.json", "One half?", r"\frac{1}{2}", "math", {})]


def test_gsm8k_takes_what_follows_the_marks(folder: Path) -> None:
    (problem,) = load("gsm8k", data_dir=folder)
    assert (problem.problem, problem.answer, problem.kind) == ("Eggs?", "2100", "math")


def test_minerva_takes_the_last_box_or_the_field(folder: Path) -> None:
    first, second = load("minerva_math", data_dir=folder)
    assert (first.id, first.answer, first.meta) == ("7", "4.5e33", {"rel_tol": 1e-4})
    assert second.answer == "1.6"


def test_mmlu_has_lettered_choices_and_says_how_to_answer(folder: Path) -> None:
    first, second = load("mmlu_stem", data_dir=folder)
    lines = first.problem.splitlines()
    assert lines[:5] == ["Which?", "A. one", "B. two", "C. three", "D. four"]
    assert r"\boxed{}" in lines[5]
    assert (first.answer, second.answer, first.kind) == ("C", "B", "choice")
    assert second.id == f"{first.id}#2"  # the same question twice: told apart


def test_olympiadbench_keeps_unit_and_tolerance(folder: Path) -> None:
    (problem,) = load("olympiadbench", data_dir=folder)
    assert (problem.id, problem.problem, problem.answer) == ("1606", "A river.\n\nHow wide?", "$4.2$")
    assert problem.meta == {"several": False, "unit": "%", "abs_tol": 0.1, "type": "Numerical"}


def test_the_folder_may_come_from_the_environment_and_hold_one_folder_a_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "math500" / "test.jsonl", ROWS["math500"])
    monkeypatch.setenv("GSI_DATA_DIR", str(tmp_path))
    assert len(load("math500")) == 1


def test_json_lines_of_your_own(tmp_path: Path) -> None:
    rows = [
        {"problem": "2 + 2?", "answer": 4},
        {"problem": "2 + 2?", "answer": "4", "id": "mine"},
        {"question": "Which?", "choices": ["x", "y"], "answer": "B"},
        {"problem": "About?", "answer": "3.1", "meta": {"rel_tol": 0.01}},
    ]
    found = load(str(write(tmp_path / "own.jsonl", rows)))
    assert [problem.answer for problem in found] == ["4", "4", "B", "3.1"]
    assert found[1].id == "mine"
    assert [problem.kind for problem in found] == ["math", "math", "choice", "math"]
    assert len({problem.id for problem in found}) == 4
    moved = load(str(write(tmp_path / "moved.jsonl", rows[::-1])))
    assert {problem.id for problem in moved} == {problem.id for problem in found}  # ids do not depend on the order


def test_pocket_of_any_size_begins_alike() -> None:
    few, more = load("pocket", size=5), load("pocket", size=50)
    assert more[:5] == few
    assert len(load("pocket")) == 500
    assert load("pocket", size=5, seed=1) != few
    splits = [
        {problem.problem for problem in load("pocket", size=50, split=split)} for split in ("test", "calibration")
    ]
    assert not splits[0] & splits[1]


def test_samples_are_nested_and_halves_are_disjoint(tmp_path: Path) -> None:
    path = str(write(tmp_path / "many.jsonl", [{"problem": f"{k}?", "answer": k} for k in range(300)]))
    whole = load(path)
    small, large = load(path, size=20), load(path, size=90)
    assert set(ids(small)) < set(ids(large)) < set(ids(whole))
    assert ids(small) == [id for id in ids(whole) if id in set(ids(small))]  # in the set's order
    assert ids(load(path, size=20, seed=1)) != ids(small)
    halves = ids(load(path, split="calibration")), ids(load(path, split="heldout"))
    assert sorted(halves[0] + halves[1]) == sorted(ids(whole))
    assert min(map(len, halves)) > 100


def ids(problems: list[Problem]) -> list[str]:
    return [problem.id for problem in problems]


def test_reasoning_gym_by_name_size_seed_and_settings() -> None:
    found = load("rg:chain_sum,size=6,seed=3,min_terms=2,max_terms=2")
    assert len(found) == 6
    assert all(
        problem.kind == "rg" and problem.problem.count("+") + problem.problem.count("-") >= 1 for problem in found
    )
    assert load("rg:chain_sum,size=6,seed=3,min_terms=2,max_terms=2") == found
    assert len(load("rg:chain_sum,size=6", size=2)) == 2
    assert json.loads(json.dumps(found[0].meta)) == found[0].meta


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Any, ...]]]:
    """A stand-in for the library `datasets` that has one set and remembers what it was asked for."""
    asked: list[tuple[Any, ...]] = []

    def load_dataset(path: str, config: str | None, *, split: str) -> list[dict[str, Any]]:
        asked.append((path, config, split))
        if path != "openai/gsm8k":
            raise ConnectionError("no route to host")
        return ROWS["gsm8k"]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    yield asked


def test_what_no_folder_has_comes_from_the_hub(tmp_path: Path, hub: list[tuple[Any, ...]]) -> None:
    (problem,) = load("gsm8k", data_dir=tmp_path)
    assert problem.answer == "2100"
    assert hub == [("openai/gsm8k", "main", "test")]


def test_what_the_folder_has_is_not_downloaded(folder: Path, hub: list[tuple[Any, ...]]) -> None:
    load("gsm8k", data_dir=folder)
    assert hub == []


def test_neither_place_has_it(tmp_path: Path, hub: list[tuple[Any, ...]]) -> None:
    with pytest.raises(ConfigError, match=r"math500\.jsonl and .*test\.jsonl, then .*on the hub: Connection.*no route"):
        load("math500", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"problem": "2?"}], r"line 1: no field answer; the row has problem"),
        ([{"problem": "2?", "answer": 2}, {"problem": " ", "answer": 2}], r"line 2: the problem must be a text"),
        ([{"problem": "2?", "answer": ""}], r"line 1: the answer is empty"),
        ([{"problem": "2?", "answer": [2]}], r"line 1: an answer is a text or a number"),
        ([{"problem": "2?", "answer": 4, "choices": ["x", "y"]}], r"line 1: the answer of 2 choices must be"),
        ([{"problem": "2?", "answer": 0, "choices": ["x"]}], r"line 1: choices must be a list"),
        ([{"problem": "2?", "answer": 2, "kind": "essay"}], r"line 1: kind must be one of"),
        ([["2?", 2]], r"line 1: a line must be a JSON object"),
        ([], r"the set is empty"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, rows: list[Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(str(write(tmp_path / "own.jsonl", rows)))


def test_refusals(tmp_path: Path) -> None:
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: load("math5000"), "no set 'math5000': use pocket, math500"),
        (lambda: load(str(tmp_path / "gone.jsonl")), "gone.jsonl cannot be read"),
        (lambda: load("pocket", size=0), "size must be at least 1"),
        (lambda: load("pocket", split="dev"), "pocket has no split 'dev'"),
        (lambda: load("rg:chain_sum", split="train"), "has no split 'train'"),
        (lambda: load("rg:chain_summ"), "no generator 'chain_summ'; it has"),
        (lambda: load("rg:chain_sum,7"), "settings as key=value"),
        (lambda: load("rg:chain_sum,colour=7"), "refuses chain_sum"),
        (lambda: load("rg:chain_sum,min_terms=-1"), "refuses chain_sum"),
    ]
    for call, message in cases:
        with pytest.raises(ConfigError, match=message):
            call()
    (tmp_path / "broken.jsonl").write_text('{"problem": "2?", "answer"\n', "utf-8")
    with pytest.raises(ConfigError, match=r"line 1: not JSON: "):
        load(str(tmp_path / "broken.jsonl"))
