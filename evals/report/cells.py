"""How numbers read in the cells of tables and on the axes of plots."""

from __future__ import annotations

from evals.report.stats import Estimate

UNKNOWN = "–"


def estimate(found: Estimate | None) -> str:
    """0.812 [0.774, 0.846]."""
    return UNKNOWN if found is None else f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def probability(p: float) -> str:
    """A p-value, never 0."""
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}" if p < 0.01 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def known(value: float | None, style: str, mark: str = "") -> str:
    """The number in a style, with a mark behind it; – where it is not known."""
    return UNKNOWN if value is None else f"{value:{style}}{mark}"


def short(value: float | None, digits: int = 6) -> str:
    """1500 as 1.5k, 2e9 as 2G; – where it is not known."""
    if value is None:
        return UNKNOWN
    for size, letter in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.{digits}g}{letter}"
    return f"{value:.{digits}g}"
