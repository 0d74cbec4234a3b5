"""The tables of `python -m evals jko`: means and standard errors over seeds, beside published values and aims."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from evals.jko.measurement import Measurement
from evals.jko.published import LOG_Z, PUBLISHED, PUBLISHED_N, RHO, TAIL
from evals.report.text_table import TextTable

Seeds = Sequence[Measurement]  # of one sampler on one target
AIMED = "neural JKO"  # the sampler that aims are of
DISTANCES = (
    "target", "sampler", "ρ", "aim", "energy distance", "KL(target ‖ p)", "marginals rejected", "99.9 % of x₁",
    "mode error",
)  # fmt: skip
DENSITIES = (
    "target", "sampler", "E log w", "log E w", "aim", "KL(p ‖ target)", "evaluations", "… of the draws",
    "CPU seconds (wall)", "… (wall) of the draws",
)  # fmt: skip
NOTES = (
    "Mean ± standard error over seeds; for one seed ± what its draws leave open, where known. ρ = D / E‖X − X'‖ − 1/n "
    "compares at any n. Marginals rejected: coordinates at 5 % by Kolmogorov–Smirnov with Holm, and the smallest "
    "corrected p. Mode error: Σ (share − 1/k)².",
    "Nats; log Z is 0 where none stands beside. KL(p ‖ target) = log E w − E log w. Evaluations and seconds: of all "
    "that comes before the draws, then of these.",
)


def tables(measurements: Seeds) -> list[TextTable]:
    """Distances to the truth; densities and what they cost. A line a target and sampler."""
    return [
        TextTable("Neural JKO sampling: distances", DISTANCES, list(_distances(measurements)), NOTES[:1]),
        TextTable("Neural JKO sampling: densities and cost", DENSITIES, list(_densities(measurements)), NOTES[1:]),
    ]


def mean_and_error(values: Sequence[float], style: str, own: float | None = None) -> str:
    """mean ± standard error over seeds; of one, ± its own error where that is known."""
    mean = format(float(np.mean(values)), style)
    if len(values) > 1:
        own = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return mean if own is None else f"{mean} ± {format(own, style)}"


def _distances(measurements: Seeds) -> Iterator[Sequence[str]]:
    for target, samplers in _by_target(measurements):
        for seeds in samplers:
            if seeds[0].method == "truth":
                noise = f"0 (standard deviation {seeds[0].std:.1e})"
                yield (target, f"truth against truth, n = {seeds[0].n:,}", noise, *[""] * 6)
            else:
                yield (target, _sampler(seeds), *_distance_cells(seeds))
        for one in PUBLISHED.get(target, []):
            energy = "" if one.energy_distance is None else f"{one.energy_distance:.1e}"
            yield (target, f"{one.sampler}, n = {PUBLISHED_N:,}", f"{one.rho:.1e}", "", energy, *[""] * 4)


def _densities(measurements: Seeds) -> Iterator[Sequence[str]]:
    for target, samplers in _by_target(measurements):
        for seeds in samplers:
            if seeds[0].method != "truth":
                yield (target, _sampler(seeds), *_density_cells(seeds))


def _by_target(measurements: Seeds) -> Iterator[tuple[str, list[Seeds]]]:
    """A target, and of each of its samplers what was measured, one a seed."""
    for target in dict.fromkeys(one.target for one in measurements):
        here = [one for one in measurements if one.target == target]
        methods = dict.fromkeys(one.method for one in here)
        yield target, [[one for one in here if one.method == method] for method in methods]


def _sampler(seeds: Seeds) -> str:
    made = ", no flow" if any(one.flows == 0 for one in seeds) else ""
    return f"{seeds[0].method}{made}, n = {seeds[0].n:,}, {len(seeds)} seed{'s' if len(seeds) > 1 else ''}"


def _values(seeds: Seeds, name: str) -> list[float]:
    return [value for one in seeds if (value := getattr(one, name)) is not None]


def _cell(seeds: Seeds, name: str, style: str) -> str:
    """Of a field that may have an error of its own, NAME_error; empty where nobody has it."""
    values = _values(seeds, name)
    own = getattr(seeds[0], f"{name}_error", None)
    return mean_and_error(values, style, own) if values else ""


def _distance_cells(seeds: Seeds) -> Sequence[str]:
    first, rho, tail, wanted = seeds[0], _values(seeds, "rho"), _values(seeds, "x1_tail"), ""
    truth = _values(seeds, "x1_tail_truth")
    if first.method == AIMED and first.target in RHO:
        wanted = _met(f"≤ {RHO[first.target]:.0e}", float(np.mean(rho)) <= RHO[first.target])
    tails = f"{_cell(seeds, 'x1_tail', '.2f')} (truth: {np.mean(truth):.2f})" if tail else ""
    if tail and first.method == AIMED and first.target in TAIL:
        away = abs(float(np.mean(tail)) / float(np.mean(truth)) - 1.0)
        tails += f", {_met(f'within {TAIL[first.target]:.0%}', away <= TAIL[first.target])}"
    rejected = ", ".join(str(count) for count in _values(seeds, "ks_rejected"))
    return (
        _cell(seeds, "rho", ".1e"),
        wanted,
        _cell(seeds, "energy_distance", ".1e"),
        _cell(seeds, "forward_kl", ".4f"),
        f"{rejected} of {first.dim} (least p {min(_values(seeds, 'ks_least_p')):.1g})" if rejected else "",
        tails,
        _cell(seeds, "mode_error", ".1e"),
    )


def _density_cells(seeds: Seeds) -> Sequence[str]:
    first, wanted = seeds[0], ""
    truth = first.log_z_truth or 0.0
    estimates = [float(np.mean(values)) for name in ("log_z_lower", "log_z") if (values := _values(seeds, name))]
    if first.method == AIMED and estimates:
        wanted = _met(f"within {LOG_Z:g}", all(abs(one - truth) <= LOG_Z for one in estimates))
    known = f" (log Z: {truth:.3f})" if truth and estimates else ""
    return (
        _cell(seeds, "log_z_lower", ".3f"),
        _cell(seeds, "log_z", ".3f") + known,
        wanted,
        _cell(seeds, "kl", ".4f"),
        _count(_values(seeds, "evaluations")),
        _count(_values(seeds, "sampling_evaluations")),
        _time(seeds, "cpu_seconds", "seconds"),
        _time(seeds, "sampling_cpu_seconds", "sampling_seconds"),
    )


def _met(aim: str, reached: bool) -> str:
    return f"{aim}: {'met' if reached else 'missed'}"


def _count(values: Sequence[float]) -> str:
    return f"{np.mean(values) / 1e6:.3g} M" if values else ""


def _time(seeds: Seeds, cpu: str, wall: str) -> str:
    used, passed = _cell(seeds, cpu, ".0f"), _cell(seeds, wall, ".0f")
    return f"{used} ({passed})" if used and passed else f"({passed})" if passed else ""
