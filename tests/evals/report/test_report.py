"""The report of a run's folder: what it says, what it refuses, and that nothing a model wrote can act on the reader."""

from __future__ import annotations

import json
import re
from argparse import ArgumentParser
from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from evals.report import command as report
from evals.report.arms import by_arm
from evals.report.markdown import printable
from evals.report.page import ASSETS
from evals.report.plots import every
from evals.report.plots.costs import draw as bars
from evals.report.summary import summarise
from evals.report.tables import costs
from gsi_node.types import Plain
from tests.evals.synthetic import campaign, failed, typed, write

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)><!--\u2028 & \\u003c \ud800"


def run(folder: Path, *options: str) -> int:
    parser = ArgumentParser()
    report.add_arguments(parser)
    return report.main(parser.parse_args([str(folder), *options]))


def summary_of(folder: Path, rows: Iterable[Plain], *options: str) -> Any:
    write(folder, list(rows))
    assert run(folder, *(options or ("--no-plots",))) == 0
    return json.loads((folder / "report" / "summary.json").read_text("utf-8"))


class Page(HTMLParser):
    """Elements by name with their attributes, and the text of the scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.inside = tag == "script"
        if self.inside:
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.scripts[-1] += data


def test_everything_is_written_and_the_same_rows_give_the_same_files(tmp_path: Path) -> None:
    folder = write(tmp_path / "a run", list(campaign(12, ns=(1, 4), seeds=(0, 1))))
    assert run(folder) == 0
    out = folder / "report"
    first = {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file() and path.suffix != ".png"}
    assert not any(b"CreationDate" in data for name, data in first.items() if name.endswith(".pdf"))
    plots = {path.stem for path in (out / "plots").glob("*.png")}
    assert plots == {"accuracy", "flops", "seconds", "acceptance", "calibration", "differences", "weights", "costs"}
    assert plots == {path.stem for kind in ("svg", "pdf") for path in (out / "plots").glob(f"*.{kind}")}
    text = (out / "report.md").read_text("utf-8")
    assert re.findall(r"plots/(\w+)\.png", text) == [plot.name for plot in every()]
    assert run(folder) == 0
    assert first == {
        path.name: path.read_bytes() for path in out.rglob("*") if path.is_file() and path.suffix != ".png"
    }


def test_the_numbers_are_those_of_the_rows(tmp_path: Path) -> None:
    rows = list(campaign(25, ("gsi", "sbon-base"), (4,), (0, 1)))
    summary = summary_of(tmp_path, rows)
    for setting in summary["settings"]:
        own = [row for row in rows if row["method"] == setting["method"]]
        steps = [step for row in own for step in row["steps"]]
        assert setting["accuracy"]["value"] == pytest.approx(sum(row["correct"] for row in own) / 50)
        assert setting["flops"]["total"]["value"] == pytest.approx(sum(sum(r["flops"].values()) for r in own) / 50)
        assert setting["seconds"]["total"]["value"] == pytest.approx(sum(row["seconds"] for row in own) / 50)
        spent = setting["seconds"]
        assert spent["rest"] == pytest.approx(sum(row["seconds"] - row["models_seconds"] for row in own) / 50)
        assert spent["rest"] > 0 > spent["total"]["value"] - sum(spent[role] for role in ("draft", "base", "reward"))
        if setting["method"] == "gsi":
            assert setting["acceptance"]["value"] == pytest.approx(sum(s["accepted"] for s in steps) / len(steps))
            shares = sorted((s.get("rejected") or s)["ess"] / 4 for s in steps)
            assert setting["weights"]["ess_share"]["count"] == len(shares)
        else:
            assert setting["acceptance"] is None
    pair = summary["pairs"][0]
    by_key = {(r["method"], r["problem_id"], r["seed"]): r["correct"] for r in rows}
    own_difference = [by_key[("gsi", p, s)] - by_key[("sbon-base", p, s)] for m, p, s in by_key if m == "gsi"]
    assert pair["value"] == pytest.approx(sum(own_difference) / 50)
    assert pair["p_holm"] == pair["p_value"]


def test_the_rest_is_not_told_where_a_row_does_not_tell(tmp_path: Path) -> None:
    rows = list(campaign(4, ("gsi", "sbon-base"), (4,), (0,)))
    del rows[0]["models_seconds"]
    summary = summary_of(tmp_path, rows)
    gsi, sbon = (setting["seconds"]["rest"] for setting in summary["settings"])
    assert gsi is None
    assert sbon > 0
    [found] = summarise(*by_arm(typed(rows))).sets
    assert [line[-1] == "–" for line in costs(found.tallies).rows] == [True, False]
    assert bars(found) is not None


def test_differences_pair_problem_with_problem(tmp_path: Path) -> None:
    """Method A solves exactly one problem more than B, of 40 that are half solved: paired, the interval is narrow."""
    rows = list(campaign(40, ("gsi", "rsd-n"), (4,), (0,)))
    for row in rows:
        row["correct"] = row["index"] % 2 == 0 or (row["method"] == "gsi" and row["index"] == 1)
    pair = summary_of(tmp_path, rows)["pairs"][0]
    assert (pair["better"], pair["worse"], pair["p_value"]) == (1, 0, 1.0)
    assert pair["high"] - pair["low"] < 0.2  # unpaired: 0.44


def test_errors_are_wrong_answers_that_are_counted_and_shown(tmp_path: Path) -> None:
    rows = list(campaign(10, ("gsi",), (4,), (0,)))
    for row in rows:
        row["correct"] = True
    rows[3], rows[4] = failed(rows[3]), failed(rows[4])
    summary = summary_of(tmp_path, rows)
    setting = summary["settings"][0]
    assert summary["errors"] == 2 and setting["errors"] == {"BackendUnavailable": 2}
    assert setting["accuracy"]["value"] == 0.8
    assert setting["seconds"]["total"]["rows"] == 8
    text = (tmp_path / "report" / "report.md").read_text("utf-8")
    assert "2 of 10 rows ended in an error (BackendUnavailable). They count as wrong answers" in text
    assert "They count as wrong answers" in (tmp_path / "report" / "report.html").read_text("utf-8")


def test_seconds_under_load_are_marked_and_quiet_rows_are_preferred(tmp_path: Path) -> None:
    busy = list(campaign(8, ("gsi", "rsd-n"), (4,), (0,), concurrency=16))
    quiet = [row | {"concurrency": 1, "seconds": 1.0} if row["method"] == "gsi" else row for row in busy[:8]]
    summary = summary_of(tmp_path, quiet + busy[8:])
    gsi, rsd = summary["settings"]
    assert gsi["seconds"]["latency"] and gsi["seconds"]["total"]["value"] == 1.0
    assert not rsd["seconds"]["latency"]
    text = (tmp_path / "report" / "report.md").read_text("utf-8")
    assert re.search(r"\| rsd-n +\| +4 .* †", text) and not re.search(r"\| gsi +\| +4 .* †", text)
    assert "marked †, they are not latencies" in text


def test_rewards_of_pocket_are_judged_step_by_step_elsewhere_by_the_answer(tmp_path: Path) -> None:
    rows = list(campaign(20, ("gsi",), (4,), (0,), keep=True))
    steps = summary_of(tmp_path / "pocket", rows)["calibration"]
    batches = [b for r in rows for s in r["steps"] for b in (s, s.get("rejected")) if b]
    counts = {src: sum(4 for b in batches if b["source"] == src) for src in ("base", "draft")}
    assert {entry["source"]: entry["count"] for entry in steps} == counts
    assert all(entry["kind"] == "steps" and entry["auroc"] > 0.9 for entry in steps)
    answers = summary_of(tmp_path / "other", [row | {"data": "math500"} for row in rows])["calibration"]
    assert sum(entry["count"] for entry in answers) == 20 and {entry["kind"] for entry in answers} == {"answers"}


def test_how_early_expgsi_stopped_is_told(tmp_path: Path) -> None:
    rows = list(campaign(6, ("gsi",), (4,), (0,)))
    for row in rows:
        row["method"] = "expgsi"
        for step in row["steps"]:
            (step.get("rejected") or step).update(scan={"n_scored": 2, "hit": row["index"] < 3, "n_clipped": 1})
    summary = summary_of(tmp_path, rows)
    scan = summary["settings"][0]["scan"]
    steps = [len(row["steps"]) for row in rows]
    assert (scan["judged"], scan["clipped"]) == (0.5, 0.5)
    assert scan["hit"] == pytest.approx(sum(steps[:3]) / sum(steps))
    assert any("expgsi, n = 4 judged 50 % of its candidates" in note for note in summary["notes"])


def test_what_a_model_wrote_stays_text(tmp_path: Path) -> None:
    rows = list(campaign(3, ("gsi", "base"), (2,), (0,)))
    for row in rows:
        row |= {"response": HOSTILE, "predicted": HOSTILE, "problem": HOSTILE, "reason": HOSTILE, "problem_id": HOSTILE}
        for step in row["steps"]:
            step["text"] = HOSTILE
    rows[0] = failed(rows[0]) | {"error": {"type": HOSTILE, "message": HOSTILE}}
    folder = write(tmp_path / "run", rows, {"data": HOSTILE})
    assert run(folder) == 0
    text = (folder / "report" / "report.html").read_text("utf-8")
    page = Page(text)
    assert "<img src=x" not in text and text.count("<script") == 3
    assert {tag for tag, _ in page.elements} - {"figure", "figcaption", "img"} == _plain_elements(tmp_path)
    data = json.loads(page.scripts[0])
    assert {problem["problem"] for problem in data["problems"]} == {HOSTILE}
    policy = next(a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    digests = [b64encode(sha256(script.encode()).digest()).decode() for script in page.scripts[1:]]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    assert policy is not None and "default-src 'none'" in policy and f"script-src {allowed};" in policy
    addresses = [attrs[name] or "" for _, attrs in page.elements for name in ("src", "href") if name in attrs]
    assert addresses and all(address.startswith(("data:image/svg+xml;base64,", "#")) for address in addresses)
    assert not any(name.startswith("on") for _, attrs in page.elements for name in attrs)
    assert not any("innerHTML" in script for script in page.scripts[1:]) and "fetch" not in page.scripts[2]


@pytest.mark.parametrize("name", ["$\\frac{$", "a | b", "\ud800", "\x1b[31m", "<b>x</b>", "[x](javascript:y)", "`*_~"])
def test_a_report_quotes_odd_names_as_they_are(tmp_path: Path, name: str) -> None:
    rows = list(campaign(4, ("gsi", "base"), (2,), (0,)))
    for row in rows:
        row |= {"data": name, "method": name if row["method"] == "gsi" else row["method"]}
    rows[0] = failed(rows[0]) | {"error": {"type": name, "message": name}}
    folder = write(tmp_path / "run", rows)
    assert run(folder, *(() if name[0] in "$\ud800" else ("--no-plots",))) == 0
    text = (folder / "report" / "report.md").read_text("utf-8")
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    kinds = {child.type for token in tokens for child in token.children or []}
    assert kinds <= {"text", "text_special", "softbreak"}
    assert {token.type for token in tokens}.isdisjoint({"html_block", "code_block", "fence"})
    said = ["".join(child.content for child in token.children or []) for token in tokens if token.type == "inline"]
    assert printable(name) in said  # the heading of the data set


def _plain_elements(tmp_path: Path) -> set[str]:
    folder = write(tmp_path / "plain", list(campaign(3, ("gsi", "base"), (2,), (0,))))
    assert run(folder, "--no-plots") == 0
    return {tag for tag, _ in Page((folder / "report" / "report.html").read_text("utf-8")).elements}


def test_the_page_is_bounded_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    folder = write(tmp_path, list(campaign(30, ns=(4,), keep=True)))
    sizes = []
    for megabytes in ("20", "0.2", "0.05", "0.0001"):
        assert run(folder, "--no-plots", "--page-megabytes", megabytes) == 0
        text = (folder / "report" / "report.html").read_text("utf-8")
        sizes.append(len(text))
        rows = json.loads(Page(text).scripts[0])["rows"]
        assert len(rows) == 180
        whole = all(row["d"] and row["d"].get("steps") for row in rows)
        assert whole == ("The steps of" not in text) and (megabytes == "20") == ("are not shown" not in text)
    bundled = len((ASSETS / "katex" / "katex.min.js").read_text("utf-8"))
    assert sizes == sorted(sizes, reverse=True) and sizes[1] - bundled < 300_000


@pytest.mark.parametrize(
    ("rows", "options"),
    [(1, ()), (2, ("--no-plots",)), (12, ("--reference", "gsi", "--no-plots"))],
)
def test_little_data_still_gives_a_report(tmp_path: Path, rows: int, options: tuple[str, ...]) -> None:
    folder = write(tmp_path, list(campaign(4, ("gsi", "draft", "base"), (1,), (0,)))[:rows])
    assert run(folder, *options) == 0
    summary = json.loads((folder / "report" / "summary.json").read_text("utf-8"))
    assert summary["rows"] == rows


@pytest.mark.parametrize("kind", ["errors", "right", "wrong", "no steps"])
def test_extreme_outcomes_still_give_a_report(tmp_path: Path, kind: str) -> None:
    rows = list(campaign(5, ("gsi", "rsd-n"), (2,), (0, 1)))
    if kind == "errors":
        rows = [failed(row) for row in rows]
    elif kind == "no steps":
        rows = [row | {"steps": [], "method": f"majority-{row['method'][:4]}", "acceptance_rate": None} for row in rows]
    else:
        rows = [row | {"correct": kind == "right"} for row in rows]
    folder = write(tmp_path, rows)
    assert run(folder, *(["--no-plots"] if kind == "wrong" else [])) == 0
    summary = json.loads((folder / "report" / "summary.json").read_text("utf-8"))
    if kind != "no steps":
        assert {setting["accuracy"]["value"] for setting in summary["settings"]} == {float(kind == "right")}


@pytest.mark.parametrize("what", ["missing", "empty", "no rows", "no such method"])
def test_nothing_to_report_on_is_one_line_and_exit_code_2(
    tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    if what == "empty":
        folder.mkdir()
    elif what != "missing":
        write(folder, list(campaign(2))[: 0 if what == "no rows" else 4])
    assert run(folder, *(["--reference", "magic"] if what == "no such method" else [])) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert ("magic" if what == "no such method" else "rows" if what == "no rows" else str(folder)) in error


def test_the_latest_row_of_a_key_counts_and_unequal_settings_are_named(tmp_path: Path) -> None:
    rows = list(campaign(6, ("gsi", "rsd-n"), (2,), (0,)))
    again = rows[0] | {"correct": not rows[0]["correct"]}
    short = [row for row in rows if row["method"] == "gsi" or row["index"] != 5]
    summary = summary_of(tmp_path, [*short, again])
    gsi = next(s for s in summary["settings"] if s["method"] == "gsi")
    assert gsi["rows"] == 6
    assert summary["pairs"][0]["problems"] == 5
    assert any("rsd-n, n = 2 (5)" in note for note in summary["notes"])
