"""A campaign as people run it: bank, rewards, design, run, report, packed rows; and each part's refusals."""

from __future__ import annotations

import json
import lzma
import re
from pathlib import Path
from typing import Any

import pytest

from evals.__main__ import main as evals
from evals.campaign.pack import MASK, masked
from evals.report.cells import estimate
from evals.report.stats import proportion
from evals.rows.lines import PACKED_RESULTS, read_rows
from evals.rows.row import Row
from evals.run.design import DESIGN, read_design
from evals.run.provenance import own_commit
from tests.evals.synthetic import batch, campaign, failed, typed, write
from tests.evals.tables import command, problems

Capture = pytest.CaptureFixture[str]
COUNT = 24


def run(folder: Path, *more: str, out: str) -> int:
    argv = ["--data", str(problems(folder, COUNT)), "--share-samples", "--out", str(folder / out), *more]
    return command(argv)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished bank, its design, and the run that the design asks for."""
    at = tmp_path_factory.mktemp("campaign")
    assert run(at, "--methods", "draft", "--n", "1", "--seeds", "0,1", out="bank") == 0
    assert evals(["verifiers", str(at / "bank"), "--reward", "verifier"]) == 0
    named = ["--primary", "gsi:rsd-n,gsi:sbon-draft", "--n", "4", "--share", "0.3"]
    for _ in range(2):  # the same command goes on
        assert evals(["design", str(at / "bank"), *named, "--out", str(at / "main")]) == 0
    assert run(at, "--methods", "gsi,rsd-n,sbon-draft", "--n", "4", "--seeds", "5", "--memo", out="main") == 0
    return at


def cells(printed: str, *begin: str) -> list[str]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in printed.splitlines()]
    (found,) = [row for row in rows if row[: len(begin)] == list(begin)]
    return found


def by_problem(rows: list[Row], method: str) -> list[list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.method == method:
            found.setdefault(row.problem_id, []).append(row)
    return list(found.values())


def test_the_bank_tells_what_its_samples_are_worth(folder: Path, capsys: Capture) -> None:
    assert evals(["bank", str(folder / "bank")]) == 0
    printed = capsys.readouterr().out
    right = [[row.correct is True for row in own] for own in by_problem(read_rows(folder / "bank"), "draft")]
    assert len(right) == COUNT
    for way, shares in {
        "one": [sum(own) / 2 for own in right],
        "any of 2": [float(any(own)) for own in right],
        "majority of 2": [float(own[0]) for own in right],  # of two answers that differ the first given
        "best of 2 by verifier": [sum(own) / 2 for own in right],  # which says the same of all of them
    }.items():
        assert cells(printed, "draft", way)[2:] == [str(COUNT), estimate(proportion(shares, [1] * COUNT))], way


def test_a_reward_that_tells_right_from_wrong_picks_the_right_one(tmp_path: Path, capsys: Capture) -> None:
    """Rewards 0.9 of right responses; ties, a response without a verdict, and a failed one, which nobody asks about."""
    rows = [{**one, "n": 1} for one in campaign(6, ("draft",), (1,), (0, 1, 2))]
    rows[0] = failed(rows[0])
    at = write(tmp_path, rows)
    lines = []
    for place, one in enumerate(typed(rows)):
        if one.error is None:
            value = None if place == 4 else 0.9 if one.correct else 0.2
            about = {"reward": "r", "spec": "oracle", "value": value, "cpu_seconds": 0.0, "written_tokens": 0}
            about |= {"problem_id": one.problem_id, "method": "draft", "n": 1, "seed": one.seed}
            lines.append({"schema": 1, **about, "chains": 0, "without_verdict": 0})
    (at / "verdicts.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    assert evals(["bank", str(at)]) == 0
    printed = capsys.readouterr().out
    want = []
    for own in by_problem(typed(rows), "draft"):
        judged = [row for row in own if row.error is None and row is not None]
        known = [
            row for row in judged if (row.problem_id, row.seed) != (typed(rows)[4].problem_id, typed(rows)[4].seed)
        ]
        want.append(float(any(row.correct for row in known)))
    assert cells(printed, "draft", "best of 3 by oracle")[3] == estimate(proportion(want, [1] * 6))
    (at / "verdicts.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines[:-2]))
    assert evals(["bank", str(at)]) == 0
    assert "oracle was not asked about 2 responses of draft" in capsys.readouterr().out


def test_the_design_solves_the_undecided_and_some_of_the_rest(folder: Path, capsys: Capture) -> None:
    design = read_design(folder / "main")
    assert design is not None and design.problems == COUNT and design.samples == 2
    strata = {one.name: one for one in design.strata}
    right: dict[str, int] = {}
    for row in read_rows(folder / "bank"):
        right[row.problem_id] = right.get(row.problem_id, 0) + (row.correct is True)
    kinds = {"undecided": (1,), "all right": (2,), "none right": (0,)}
    want = {name: {id for id, count in right.items() if count in counts} for name, counts in kinds.items()}
    for name, ids in want.items():
        if ids:
            assert strata[name].size == len(ids) and set(strata[name].chosen) <= ids
    assert set(strata["undecided"].chosen) == want["undecided"]
    assert len(strata["none right"].chosen) == max(2, -(-3 * len(want["none right"]) // 10)) < len(want["none right"])
    rows = read_rows(folder / "main")
    assert {row.problem_id for row in rows} == set(design.weights) and len(rows) == 3 * len(design.weights)
    assert {row.commit for row in rows} == {own_commit()}
    assert {row.problem_id: row.index for row in rows} == {id: int(id[1:]) for id in design.weights}


def test_the_report_weighs_and_repeats_what_was_named(folder: Path, capsys: Capture) -> None:
    assert evals(["report", str(folder / "main"), "--no-plots"]) == 0
    printed = capsys.readouterr().out
    assert "Primary comparisons, named before the run: gsi − rsd-n, gsi − sbon-draft, n = 4" in printed
    told = json.loads((folder / "main" / "report" / "summary.json").read_text())
    assert [(one["first"], one["second"]) for one in told["primary"]] == [
        ("gsi, n = 4", "rsd-n, n = 4"),
        ("gsi, n = 4", "sbon-draft, n = 4"),
    ]
    assert len(told["pairs"]) == 3
    design = read_design(folder / "main")
    assert design is not None
    right = {(row.method, row.problem_id): row.correct is True for row in read_rows(folder / "main")}
    for one in told["settings"]:
        shares = [sum(right[one["method"], id] for id in s.chosen) / len(s.chosen) * s.size for s in design.strata]
        assert one["accuracy"]["value"] == pytest.approx(sum(shares) / COUNT)
    assert told["primary"][0]["p_holm"] == pytest.approx(
        min(1, max(2 * min(p["p_value"] for p in told["primary"]), told["primary"][0]["p_value"]))
    )


def test_a_designed_folder_is_not_merged_nor_compared_unsaid(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    assert evals(["merge", str(folder / "main"), str(folder / "bank"), "--out", str(tmp_path / "m")]) == 2
    assert "drawn by a design" in capsys.readouterr().err
    assert evals(["compare", str(folder / "main"), str(folder / "main")]) == 0
    assert "drawn by a design, which nothing is weighed by here" in capsys.readouterr().out


def test_refusals(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    made = ["--primary", "gsi:rsd-n", "--n", "4", "--out"]
    bank = str(folder / "bank")
    assert run(folder, "--methods", "draft", "--n", "1", "--seeds", "0,1", "--minutes", "0", out="begun") == 4
    capsys.readouterr()
    for argv, told in [
        (["design", bank, *made, bank], "holds something else already"),
        (
            ["design", str(folder / "main"), *made, str(tmp_path / "a")],
            "no method with one candidate has several seeds",
        ),
        (["design", bank, "--share", "1.5", *made, str(tmp_path / "a")], "--share: want a share from 0 to 1"),
        (["bank", str(tmp_path)], "no run folder"),
        (["pack", str(tmp_path), "--out", str(tmp_path / "p")], "no run folder"),
        (["pack", bank, "--out", bank], "holds something else"),
    ]:
        assert evals(argv) == 2, argv
        error = capsys.readouterr().err
        assert told in error and error.count("\n") == 1
    with pytest.raises(SystemExit):
        evals(["design", bank, "--primary", "gsi:gsi", "--n", "4", "--out", str(tmp_path / "a")])
    assert "want two methods with a colon between" in capsys.readouterr().err
    other = tmp_path / "other"
    other.mkdir()
    (other / DESIGN).write_bytes((folder / "main" / DESIGN).read_bytes())
    argv = ["--data", str(problems(tmp_path, 3)), "--out", str(other), "--methods", "gsi", "--n", "4"]
    assert command(argv) == 2 and "was made for other problems (24 of" in capsys.readouterr().err
    (other / DESIGN).write_bytes((folder / "main" / DESIGN).read_bytes().replace(b'"size": ', b'"size": 1'))
    assert command(argv) == 2 and "damaged" in capsys.readouterr().err


def test_packed_rows_say_the_same_and_nothing_of_the_problems(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    for name in ("bank", "main"):
        assert evals(["pack", str(folder / name), "--out", str(tmp_path / name)]) == 0
        assert f"rows of {own_commit()} in 0.0" in capsys.readouterr().err
    files = sorted(path.name for path in (tmp_path / "bank").iterdir())
    assert files == ["config.json", PACKED_RESULTS, "verdicts.jsonl"]
    for argv in (["bank", "bank"], ["report", "main", "--no-plots", "--out", "r"]):
        found = []
        for at in (folder, tmp_path):
            assert evals([argv[0], str(at / argv[1]), *argv[2:-1], *([str(at / "r")] if argv[-1] == "r" else [])]) == 0
            found.append(capsys.readouterr().out.replace(str(folder), "").replace(str(tmp_path), ""))
        assert found[0] == found[1]
    before = {row.key: row for row in read_rows(folder / "main")}
    for row in read_rows(tmp_path / "main"):
        assert (row.problem, row.gold) == ("", "")
        assert row == before[row.key].model_copy(update={"problem": "", "gold": ""})
    assert run(tmp_path, "--methods", "draft", "--n", "1", "--seeds", "0,1", out="bank") == 2
    assert "its rows are packed" in capsys.readouterr().err
    whole = (tmp_path / "main" / PACKED_RESULTS).read_bytes()
    (tmp_path / "main" / PACKED_RESULTS).write_bytes(whole[: len(whole) // 2])
    assert evals(["report", str(tmp_path / "main")]) == 2 and "damaged" in capsys.readouterr().err


PROBLEM = """Mara keeps 14 hens, and each of them lays 3 eggs a week. She eats half a dozen herself.
Is that so? How many eggs can she sell in four weeks?"""


def test_no_sentence_of_a_problem_stays(tmp_path: Path) -> None:
    """In responses, steps, candidates, refused drafts, what verifiers wrote, thinking, errors; quoted otherwise."""
    quoted = PROBLEM.replace(" ", "  ").upper()
    (one,) = campaign(1, ("gsi",), (2,), (0,))
    refused = batch(f"so: {PROBLEM}\n\n", True, 2, _rng(), "draft", keep=True)
    step: dict[str, Any] = {
        **batch(f"ah. {quoted} Then 42.\n\n", True, 2, _rng(), "base", keep=True),
        "rejected": refused,
    }
    step["candidates"][1]["written"] = [{"text": f"The problem says: {PROBLEM}", "tokens": 9, "good": True}]
    thinking = {**step, "text": f"<think>{PROBLEM}</think>It is 7.", "thought": len(f"<think>{PROBLEM}</think>")}
    one |= {"problem": PROBLEM, "gold": "144", "response": f"{quoted}{PROBLEM}", "steps": [step, thinking]}
    wrong = failed({**one, "seed": 1})
    wrong["error"] = {"type": "BackendError", "message": f"broke at {PROBLEM[:60]!r}", "traceback": PROBLEM}
    at = write(tmp_path / "run", [one, wrong])
    assert evals(["pack", str(at), "--out", str(tmp_path / "packed")]) == 0
    text = lzma.decompress((tmp_path / "packed" / PACKED_RESULTS).read_bytes()).decode()
    words = " ".join(re.findall(r"\w+", text.replace("\\n", " ").lower()))
    for sentence in re.split(r"[.?\n]", PROBLEM):
        told = " ".join(re.findall(r"\w+", sentence.lower()))
        if len(told.split()) > 3:
            assert told not in words, sentence
    assert "mara" not in words and "then 42" in words and "BackendError" in text
    found = next(row for row in read_rows(tmp_path / "packed") if row.error is None)
    assert found.steps[1].text is not None and found.steps[1].thought is not None
    assert found.steps[1].text[found.steps[1].thought :] == "It is 7." and MASK in found.steps[1].text
    assert masked(found) == found


def _rng() -> Any:
    import numpy as np

    return np.random.default_rng(0)
