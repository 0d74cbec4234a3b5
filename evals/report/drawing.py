"""Every plot that a summary has numbers for, as PNG, SVG and PDF in a folder."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from pathlib import Path

import matplotlib as mpl

from evals.report.document import PlotFiles
from evals.report.plots import Plot, every
from evals.report.summary import DataSummary, Summary


def draw(summary: Summary, folder: Path) -> list[PlotFiles]:
    """One set of plots a data set, written into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    several = len(summary.sets) > 1
    drawn = []
    with look_of_plots():
        for place, found in enumerate(summary.sets):
            for plot in every():
                name = plot.name + (_suffix(found.data, place) if several else "")
                title = f"{plot.title}: {found.data}" if several else plot.title
                drawn += _drawn(plot, found, folder / name, title)
    return drawn


def look_of_plots() -> AbstractContextManager[None]:
    """Sizes, grids and legends of every plot."""
    return mpl.rc_context(
        {
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": "#E4E4E4",
            "grid.linewidth": 0.7,
            "legend.frameon": False,
            "savefig.bbox": "tight",
            "savefig.dpi": 200,
            "svg.hashsalt": "evals",
            "text.parse_math": False,  # a dollar in a name is no formula
        }
    )


def _suffix(data: str, place: int) -> str:
    """What tells one data set's files from another's."""
    return f"-{re.sub(r'[^A-Za-z0-9]+', '_', data).strip('_')[-40:] or 'data'}-{place}"


def _drawn(plot: Plot, found: DataSummary, stem: Path, title: str) -> list[PlotFiles]:
    """The plot's files; none where the summary has no numbers for it."""
    figure = plot.draw(found)
    if figure is None:
        return []
    png, svg = stem.with_name(f"{stem.name}.png"), stem.with_name(f"{stem.name}.svg")
    figure.savefig(png)
    figure.savefig(svg, metadata={"Date": None})
    figure.savefig(stem.with_name(f"{stem.name}.pdf"), metadata={"CreationDate": None})
    return [PlotFiles(title, plot.caption(found), png, svg, plot.wide)]
