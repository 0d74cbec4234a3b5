"""The plots of a report, a module each. A module put here that defines PLOT is drawn, and shown wherever plots are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules

from matplotlib.figure import Figure

from evals.report.summary import DataSummary


@dataclass(frozen=True, slots=True)
class Plot:
    """name: of its files. place: among the others, in rising order. draw: the figure of one data set, None where the
    summary has no numbers for it. caption: what to know to read it. wide: whether it takes the page's whole width."""

    name: str
    title: str
    place: int
    draw: Callable[[DataSummary], Figure | None]
    caption: Callable[[DataSummary], str]
    wide: bool = False


def every() -> list[Plot]:
    """All of them, in their order."""
    modules = [import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)]
    plots: list[Plot] = [module.PLOT for module in modules]
    return sorted(plots, key=lambda plot: plot.place)
