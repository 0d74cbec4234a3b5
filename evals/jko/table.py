"""The table of `python -m evals jko`: means and standard errors over seeds, beside the published values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from evals.jko.measurement import Measurement
from evals.report.text_table import TextTable

PUBLISHED = {  # arXiv 2407.20444: D at 50,000 samples, and E‖X − X'‖ of the truth (100,000 pairs of it)
    "mustache": (2.9e-3, 3.93),
    "8modes": (1.2e-5, 1.287),
    "8peaky": (3.4e-5, 1.277),
    "funnel": (1.4e-2, 16.95),
    "gmm10": (5.3e-5, 2.273),
}
PUBLISHED_N = 50_000
COLUMNS = (
    "target", "sampler", "energy distance", "ρ", "E log w", "log Z", "mode error", "target evaluations", "seconds",
)  # fmt: skip


def mean_and_error(values: Sequence[float], style: str) -> str:
    """mean ± standard error over seeds; the value alone where there is one seed."""
    mean = format(float(np.mean(values)), style)
    if len(values) < 2:
        return mean
    return f"{mean} ± {format(float(np.std(values, ddof=1)) / math.sqrt(len(values)), style)}"


def table(measurements: Sequence[Measurement]) -> TextTable:
    """One line a target and sampler. ρ compares at any n; log Z is 0 for all; mode error is Σ (share − 1/k)²."""
    return TextTable("Neural JKO sampling", COLUMNS, list(_lines(measurements)))


def _lines(measurements: Sequence[Measurement]) -> Iterator[Sequence[str]]:
    for target in dict.fromkeys(one.target for one in measurements):
        own = [one for one in measurements if one.target == target]
        for method in dict.fromkeys(one.method for one in own):
            yield (target, *_cells([one for one in own if one.method == method]))
        if target in PUBLISHED:
            value, apart = PUBLISHED[target]
            rho = value / apart - 1 / PUBLISHED_N
            yield (target, f"published, n = {PUBLISHED_N:,}", f"{value:.1e}", f"{rho:.1e}", *[""] * 5)


def _cells(seeds: Sequence[Measurement]) -> Sequence[str]:
    """What the measurements of one method, one a seed, say together."""
    first = seeds[0]
    if first.method == "truth":
        return (f"truth against truth, n = {first.n:,}", "", f"0 (standard deviation {first.std:.1e})", *[""] * 5)

    def cell(values: Sequence[float | None], style: str) -> str:
        known = [value for value in values if value is not None]
        return mean_and_error(known, style) if known else ""

    evaluations = [one.evaluations for one in seeds if one.evaluations is not None]
    seconds, cpu = cell([one.seconds for one in seeds], ".0f"), cell([one.cpu_seconds for one in seeds], ".0f")
    return (
        f"{first.method}, n = {first.n:,}, {len(seeds)} seed{'s' if len(seeds) > 1 else ''}",
        cell([one.energy_distance for one in seeds], ".1e"),
        cell([one.rho for one in seeds], ".1e"),
        cell([one.log_z_lower for one in seeds], ".3f"),
        cell([one.log_z for one in seeds], ".3f"),
        cell([one.mode_error for one in seeds], ".1e"),
        f"{np.mean(evaluations) / 1e6:.1f} M",
        f"{seconds} (CPU: {cpu})" if cpu else seconds,
    )
