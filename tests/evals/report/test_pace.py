"""`evals pace`: ratios by hand, the bootstrap by enumeration, the prediction by the parts, and a run that goes on."""

from __future__ import annotations

from argparse import ArgumentParser
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from evals.report import pace
from evals.rows.lines import read_results
from gsi_node.tools.bench_sizes import PartRate, SizeCell, SizesRecord
from gsi_node.tools.step_parts import StepSeconds
from gsi_node.types import Plain
from tests.evals import tables
from tests.evals.synthetic import campaign, failed, write

PARTS = StepSeconds(draft=1.0, draft_after_base=2.0, score=0.2, reward=0.1, judged=0.25, base=4.0, base_reward=0.5)


def told(capsys: pytest.CaptureFixture[str], *given: str) -> tuple[int, str, str]:
    parser = ArgumentParser()
    pace.add_arguments(parser)
    code = pace.main(parser.parse_args(list(given)))
    out, err = capsys.readouterr()
    return code, out, err


def cells_of(out: str, setting: str) -> list[str]:
    line = next(line for line in out.splitlines() if line.startswith(f"| {setting} "))
    return [cell.strip() for cell in line.split("|")[1:-1]]


def timed(rows: list[Plain], gsi: float) -> list[Plain]:
    """One second a committed token of sbon-base, `gsi` of gsi."""
    for row in rows:
        tokens = sum(step["n_tokens"] for step in row["steps"])
        row["seconds"] = tokens * (gsi if row["method"] == "gsi" else 1.0)
        row["concurrency"] = row["workers"] = 1
    return rows


def test_a_ratio_without_noise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same in every problem, so in every resample; a failed row leaves its problem out."""
    rows = timed(list(campaign(12, ("gsi", "sbon-base"), (4, 16), (0,))), 0.75)
    broken = next(i for i, row in enumerate(rows) if row["method"] == "gsi" and row["n"] == 4)
    rows[broken] = failed(rows[broken])
    code, out, _ = told(capsys, str(write(tmp_path / "a", rows)))
    assert code == 0
    assert cells_of(out, "pocket: gsi, n = 4")[1:5] == ["11", "0.75", "1", "0.75 [0.75, 0.75]"]
    assert cells_of(out, "pocket: gsi, n = 16")[1] == "12" and cells_of(out, "pocket: gsi, n = 16")[8] == "–"
    verdicts = [step["accepted"] for row in rows if row["method"] == "gsi" and row["n"] == 16 for step in row["steps"]]
    assert cells_of(out, "pocket: gsi, n = 16")[5] == f"{np.mean(verdicts):.2f}"
    base = [row for row in rows if row["method"] == "sbon-base" and row["n"] == 16]
    tokens = [step["n_tokens"] for row in base for step in row["steps"]]
    assert cells_of(out, "pocket: gsi, n = 16")[7] == f"{np.mean(tokens):.1f}"


def test_the_interval_is_that_of_all_resamples() -> None:
    """Three problems have 27 resamples; the extreme ones weigh 1/27 each, more than a tail of 2.5 %."""
    sums = np.array([[3.0, 5.0, 4.0], [4.0, 4.0, 2.0], [6.0, 5.0, 5.0], [3.0, 5.0, 4.0]])
    every = [sums[:, list(drawn)].sum(axis=1) for drawn in product(range(3), repeat=3)]
    ratios = sorted((s1 / t1) / (s2 / t2) for s1, t1, s2, t2 in every)
    low, high = pace.interval(sums)
    assert low == pytest.approx(ratios[0]) and high == pytest.approx(ratios[-1])
    assert pace.interval(sums[:, :1]) == (None, None)


def test_the_prediction_is_of_the_parts_at_the_acceptance_seen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = timed(list(campaign(8, ("gsi", "sbon-base", "rsd-n"), (4,), (0,))), 0.6)
    rates = [PartRate(part="draft", tokens_per_second=1.0, memory=None, arithmetic=None)]
    cells = [
        SizeCell(n=n, prefix=256, read=250, tokens=40, distinct=n, seconds=PARTS, rates=rates, acceptance=[0.82])
        for n in (4, 16)
    ]
    sizes = tmp_path / "sizes.json"
    sizes.write_text(SizesRecord(models={}, repeats=1, cells=cells).model_dump_json())
    _, out, _ = told(capsys, str(write(tmp_path / "a", rows)), "--sizes", str(sizes))
    verdicts = [step["accepted"] for row in rows if row["method"] == "gsi" for step in row["steps"]]
    a = float(np.mean(verdicts))
    ratio = (a * 1.0 + (1 - a) * 2.0 + 0.25 + (1 - a) * 4.5) / 4.5
    assert cells_of(out, "pocket: gsi, n = 4")[8] == f"{ratio:.2f} (prefix 256, 40 tokens)"
    assert cells_of(out, "pocket: rsd-n, n = 4")[8] == "–"


def test_what_cannot_be_compared_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alone = write(tmp_path / "a", timed(list(campaign(3, ("gsi",), (4,), (0,))), 1.0))
    assert told(capsys, str(alone))[::2] == (
        2,
        f"error: {alone}: no method beside sbon-base at one n; rows whose seconds count: gsi, n = 4; 3 rows in all, "
        "those made with several in flight left out\n",
    )
    rows = timed(list(campaign(3, ("gsi", "sbon-base"), (4,), (0,))), 1.0)
    for row in rows:
        row["concurrency"] = 8
    code, _, err = told(capsys, str(write(tmp_path / "b", rows)))
    assert code == 2 and "seconds count: none; 6 rows in all" in err
    code, _, err = told(capsys, str(alone), "--sizes", str(tmp_path / "none.json"))
    assert code == 2 and "none.json: no such file" in err


def test_a_run_takes_the_methods_in_turn_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As the command is told to be used, on table models: stopped at once, gone on with, compared."""
    data, out = str(tables.problems(tmp_path, 4)), tmp_path / "run"
    given = ["--data", data, "--methods", "gsi,sbon-base", "--n", "2,3", "--out", str(out)]
    assert tables.command([*given, "--minutes", "0"]) == 4 and tables.command(given) == 0
    rows = read_results(out).rows
    assert [row.method for row in rows] == ["gsi", "gsi", "sbon-base", "sbon-base"] * 4
    capsys.readouterr()
    code, said, _ = told(capsys, str(out))
    assert code == 0
    for n in (2, 3):
        line = next(line for line in said.splitlines() if f": gsi, n = {n} " in line)
        count, first, second, ratio = (cell.strip() for cell in line.split("|")[2:6])
        assert count == "4" and float(ratio.split(" [")[0]) == pytest.approx(float(first) / float(second), abs=0.006)
