"""The table of `python -m evals jko`: means and standard errors over seeds, beside the published values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

PUBLISHED = {  # arXiv 2407.20444, energy distance and its sampling floor, both at 50,000 samples
    "mustache": (2.9e-3, 8.6e-5),
    "8modes": (1.2e-5, 2.6e-5),
    "8peaky": (3.4e-5, 2.4e-5),
    "funnel": (1.4e-2, 3.4e-4),
    "gmm10": (5.3e-5, 4.6e-5),
}
PUBLISHED_N = 50_000

Row = dict[str, Any]
HEAD = ("target", "sampler", "energy distance", "log Z", "mode error", "target evaluations", "seconds")


def mean_and_error(values: Sequence[float], style: str) -> str:
    """mean ± standard error over seeds; the value alone where there is one seed."""
    mean = format(float(np.mean(values)), style)
    if len(values) < 2:
        return mean
    return f"{mean} ± {format(float(np.std(values, ddof=1)) / math.sqrt(len(values)), style)}"


def markdown(rows: Sequence[Row]) -> str:
    """One line a target and sampler. log Z is 0 for every target; mode error is Σ (share − 1/k)²."""
    lines = ["| " + " | ".join(HEAD) + " |", "|" + " --- |" * len(HEAD)]
    for target in dict.fromkeys(row["target"] for row in rows):
        own = [row for row in rows if row["target"] == target]
        for method in dict.fromkeys(row["method"] for row in own):
            lines.append(_line(target, method, [row for row in own if row["method"] == method]))
        if target in PUBLISHED:
            value, floor = PUBLISHED[target]
            told = f"{value:.1e} (floor {floor:.1e})"
            lines.append(f"| {target} | published, n = {PUBLISHED_N:,} | {told} | | | | |")
    return "\n".join(lines) + "\n"


def _line(target: str, method: str, rows: Sequence[Row]) -> str:
    n, seeds = rows[0]["n"], len(rows)
    if method == "truth":
        floor = f"{rows[0]['energy_distance']:.1e} (std of one pair {rows[0]['std']:.1e})"
        return f"| {target} | floor: truth against truth, n = {n:,} | {floor} | | | | |"

    def cell(key: str, style: str) -> str:
        values = [row[key] for row in rows if key in row]
        return mean_and_error(values, style) if values else ""

    counted = f"{np.mean([row['evaluations'] for row in rows]) / 1e6:.1f} M"
    seconds = cell("seconds", ".0f")
    if "cpu_seconds" in rows[0]:
        seconds += f" (CPU: {cell('cpu_seconds', '.0f')})"
    named = f"{method}, n = {n:,}, {seeds} seed{'s' if seeds > 1 else ''}"
    cells = [cell("energy_distance", ".1e"), cell("log_z", ".3f"), cell("mode_error", ".1e"), counted, seconds]
    return f"| {target} | {named} | " + " | ".join(cells) + " |"
