"""A plot is one file: put among the others in a copy of evals, it is drawn, listed and shown without another change."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from evals.report.arms import by_arm
from evals.report.curves import over_cost, over_n
from evals.report.look import MARKERS, look
from evals.report.plots import every
from evals.report.summary import summarise
from evals.run.plan import MAJORITY
from gsi_node.step.methods import METHODS
from tests.evals.synthetic import campaign, typed, write

ROOT = Path(__file__).parents[3]
NEW = '''
"""Problems of each arm."""

from matplotlib.figure import Figure

from evals.report.plots import Plot
from evals.report.summary import DataSummary


def draw(found: DataSummary) -> Figure | None:
    figure = Figure()
    figure.add_subplot().bar([one.arm.label for one in found.tallies], [one.problems for one in found.tallies])
    return figure


PLOT = Plot("problems", "How many problems", 15, draw, lambda found: "A caption of its own.")
'''


def test_a_plot_is_one_file(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / "evals", tree / "evals", ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "evals" / "report" / "plots" / "problems.py").write_text(NEW)
    folder = write(tmp_path / "run", list(campaign(4, ("gsi", "base"), (2,), (0,))))
    command = [sys.executable, "-W", "error", "-m", "evals", "report", str(folder)]
    environment = {**os.environ, "PYTHONPATH": f"{tree}{os.pathsep}{ROOT}"}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    out = folder / "report"
    written = {path.suffix for path in (out / "plots").glob("problems.*")}
    assert written == {".png", ".svg", ".pdf"}
    page = (out / "report.html").read_text("utf-8")
    assert "<h3>How many problems</h3>" in page and "<figcaption>A caption of its own.</figcaption>" in page
    listed = [line.split("|")[1].strip() for line in done.stdout.splitlines() if line.startswith("| plots/")]
    assert listed[:3] == ["plots/accuracy.png", "plots/problems.png", "plots/flops.png"]


def test_every_plot_has_a_name_and_a_place_of_its_own() -> None:
    plots = every()
    assert len({plot.name for plot in plots}) == len({plot.place for plot in plots}) == len(plots) >= 8


def test_no_two_methods_look_alike() -> None:
    looks = [look(name) for name in (*METHODS, *MAJORITY)]
    assert len({(one.colour, one.marker) for one in looks}) == len(looks)


def test_a_methods_look_follows_from_its_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Methods that judge alike share a colour; a row of a new kind gets one of its own, and changes no other's."""
    before = {name: look(name) for name in (*METHODS, *MAJORITY, "unheard of")}
    assert before["rsd"].colour == before["rsd-n"].colour != before["gsi"].colour != before["expgsi"].colour
    assert (before["rsd"].line, before["bon-base"].line, before["gsi"].line) == (":", "--", "-")
    monkeypatch.setitem(METHODS, "new", replace(METHODS["rsd-n"], name="new", propose="base"))
    assert {name: look(name) for name in before} == before
    assert look("new").colour not in {one.colour for one in before.values()}


def test_more_methods_than_there_are_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every marker is one of matplotlib's; beyond them they begin anew."""
    rows = typed(campaign(2, ("gsi",), (2,), (0,)))
    names = [f"method-{i}" for i in range(len(MARKERS))]
    for name in names:
        monkeypatch.setitem(METHODS, name, replace(METHODS["gsi"], name=name))
    [found] = summarise(*by_arm([row.model_copy(update={"method": name}) for name in names for row in rows])).sets
    drawn = over_n(found, lambda one: one.accuracy, "accuracy")
    assert drawn is not None
    drawn.savefig(tmp_path / "plot.svg")
    assert {look(name).marker for name in names} == set(MARKERS)


def test_a_cost_that_is_not_known_is_no_point() -> None:
    """And without any there is no plot."""
    rows = [row if row["method"] == "gsi" else row | {"flops": {}} for row in campaign(3, ("gsi", "base"), (2,), (0,))]
    [found] = summarise(*by_arm(typed(rows))).sets
    drawn = over_cost(found, "flops", "FLOPs")
    assert drawn is not None
    assert [text.get_text() for text in drawn.axes[0].texts] == ["2"]
    assert over_cost(replace(found, tallies=found.tallies[1:]), "flops", "FLOPs") is None
