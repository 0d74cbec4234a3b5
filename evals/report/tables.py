"""The report in Markdown: accuracies, costs, differences, rewards, and what to know before reading them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evals.report.markdown import quoted
from evals.report.tally import ROLES
from gsi_node.types import Plain


def markdown(summary: Plain, name: str) -> str:
    """The whole report as Markdown."""
    parts = [f"# {quoted(name)}\n", *(f"> {quoted(note)}\n" for note in summary["notes"])]
    for data in dict.fromkeys(setting["data"] for setting in summary["settings"]):
        settings = [s for s in summary["settings"] if s["data"] == data]
        pairs = [p for p in summary["pairs"] if p["data"] == data]
        curves = [c for c in summary["calibration"] if c["data"] == data]
        parts.append(f"## {quoted(data)}\n")
        parts.append(table(*accuracies(settings)))
        parts.append(table(*costs(settings)))
        if pairs:
            parts.append(table(*pairwise(pairs)))
        if curves:
            parts.append(table(*rewards(curves)))
    parts.append(LEGEND)
    return "\n".join(parts)


LEGEND = """\
Brackets are 95 % intervals, clustered by problem where there are several seeds. Acceptance: accepted steps over decided
steps. p (Holm): two-sided exact paired test, adjusted for all comparisons of this report. †: measured under load, not a
latency. Seconds of draft, base and reward: of each model's calls; the base scores while the reward judges, so they may
add up to more than the wall's. Rest: wall seconds in which no model worked. Formulas: docs/evals.md.
"""


def accuracies(settings: Sequence[Plain]) -> tuple[list[str], list[list[str]]]:
    """Accuracy, acceptance, effective sample size, ungraded rows, errors."""
    header = [
        "method",
        "n",
        "problems × seeds",
        "accuracy",
        "acceptance",
        "ess / n, median",
        "no answer",
        "ungraded",
        "errors",
    ]
    body = [
        [
            s["method"] + ("" if s["temperature"] == 0.7 else f" (T = {s['temperature']:g})"),
            str(s["n"]),
            f"{s['problems']} × {len(s['seeds'])}",
            estimate(s["accuracy"]),
            "–" if s["acceptance"] is None else estimate(s["acceptance"]),
            f"{s['weights']['ess_share']['p50']:.2f}" if s["weights"].get("ess_share") else "–",
            str(s["no_answer"]),
            str(s["ungraded"]),
            ", ".join(f"{kind} {count}" for kind, count in s["errors"].items()) or "0",
        ]
        for s in settings
    ]
    return header, body


def costs(settings: Sequence[Plain]) -> tuple[list[str], list[list[str]]]:
    """Tokens, FLOPs and seconds a problem."""
    header = ["method", "n", "draft tokens", "base tokens", "base scored", "FLOPs", "wall s", "wall s a step"]
    header += [*(f"{role} s" for role in ROLES), "rest s"]
    body = []
    for s in settings:
        spent, counted = s["seconds"], s["tokens"]
        mark = "" if spent is None or spent["latency"] else " †"
        line = [s["method"], str(s["n"])]
        for role, kind in (("draft", "generated"), ("base", "generated"), ("base", "scored")):
            line.append(f"{counted[role][kind]:.0f}" if role in counted else "–")
        line.append("–" if s["flops"] is None else short(s["flops"]["total"]["value"], digits=3))
        line.append("–" if spent is None else f"{spent['total']['value']:.3g}{mark}")
        line.append("–" if not spent or spent["per_step"] is None else f"{spent['per_step']['value']:.3g}{mark}")
        line += ["–" if spent is None or spent[part] is None else f"{spent[part]:.3g}" for part in (*ROLES, "rest")]
        body.append(line)
    return header, body


def pairwise(pairs: Sequence[Plain]) -> tuple[list[str], list[list[str]]]:
    """Paired differences, in percentage points."""
    header = ["difference of accuracy", "points", "better : worse problems", "p", "p (Holm)"]
    body = [
        [
            difference_label(p),
            f"{100 * p['value']:+.1f} [{100 * p['low']:+.1f}, {100 * p['high']:+.1f}]",
            f"{p['better']} : {p['worse']} of {p['problems']}",
            probability(p["p_value"]),
            probability(p["p_holm"]),
        ]
        for p in pairs
    ]
    return header, body


def rewards(curves: Sequence[Plain]) -> tuple[list[str], list[list[str]]]:
    """How well rewards tell good from bad."""
    header = ["reward of", "judged against", "count", "good", "AUROC", "Brier", "ECE"]
    against = {"steps": "exact label of the step", "answers": "the answer, for the last step"}
    body = [
        [
            c["source"],
            against[c["kind"]],
            f"{c['count']}",
            f"{c['good']:.3f}",
            "–" if c["auroc"] is None else f"{c['auroc']:.3f}",
            f"{c['brier']:.3f}",
            f"{c['ece']:.3f}",
        ]
        for c in curves
    ]
    return header, body


def estimate(found: Plain) -> str:
    """0.812 [0.774, 0.846]."""
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def probability(p: float) -> str:
    """A p-value, never 0."""
    return "< 0.0001" if p < 1e-4 else f"{p:.4f}" if p < 0.01 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def table(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns; nothing in a cell is read as Markdown or HTML."""
    lines = [[quoted(cell) for cell in line] for line in (header, *body)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    padded = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    rule = " | ".join("-" * width for width in widths)
    return "\n".join(f"| {line} |" for line in (padded[0], rule, *padded[1:])) + "\n"


def difference_label(pair: Plain) -> str:
    """gsi − rsd-n, n = 4; or with both n where they differ."""
    (first, n), (second, m) = (pair[key].split(", ", 1) for key in ("first", "second"))
    return f"{first} − {second}, {n}" if n == m else f"{pair['first']} − {pair['second']}"


def short(value: float, _: Any = None, *, digits: int = 6) -> str:
    """1500 as 1.5k, 2e9 as 2G."""
    for size, letter in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.{digits}g}{letter}"
    return f"{value:.{digits}g}"
