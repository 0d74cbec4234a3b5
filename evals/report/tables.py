"""The tables of a report, those of one data set at a time: accuracies, steps, costs, differences, rewards."""

from __future__ import annotations

from collections.abc import Sequence

from evals.report.cells import UNKNOWN, estimate, known, probability, short
from evals.report.costs import ROLES
from evals.report.pairs import Comparison
from evals.report.reliability import Curve
from evals.report.summary import DataSummary
from evals.report.tally import Tally
from evals.report.text_table import TextTable

AGAINST = {"steps": "exact label of the step", "answers": "the answer, for the last step"}

PRIMARY = "Primary comparisons, named before the run; p adjusted for them alone (Holm)"
EVERY = "Paired differences of accuracy; p adjusted for all comparisons of this report (Holm)"


def tables(found: DataSummary) -> list[TextTable]:
    """Those that a data set has numbers for."""
    made = [accuracies(found.tallies), steps(found.tallies), costs(found.tallies)]
    made = ([pairwise(found.primary, PRIMARY)] if found.primary else []) + made
    made += [pairwise(found.comparisons, EVERY)] if found.comparisons else []
    return made + ([rewards(found.curves)] if found.curves else [])


def accuracies(tallies: Sequence[Tally]) -> TextTable:
    """Accuracy, acceptance, effective sample size, ungraded rows, errors."""
    columns = ("method", "n", "problems × seeds", "accuracy", "acceptance", "ess / n, median")
    rows = [
        (
            one.arm.name,
            str(one.arm.n),
            f"{one.problems} × {len(one.seeds)}",
            estimate(one.accuracy),
            estimate(one.acceptance),
            known(one.weights["ess_share"].p50, ".2f") if "ess_share" in one.weights else UNKNOWN,
            str(one.no_answer),
            str(one.ungraded),
            ", ".join(f"{kind} {count}" for kind, count in one.errors.items()) or "0",
        )
        for one in tallies
    ]
    return TextTable("Accuracy", (*columns, "no answer", "ungraded", "errors"), rows)


def steps(tallies: Sequence[Tally]) -> TextTable:
    """How long the decided steps are, how far apart draft and base, in nats, and how responses ended."""
    columns = ("method", "n", "steps", "tokens a step", "mean |ℓ|", "greatest |ℓ|", "stopped by")
    rows = [
        (
            one.arm.method,
            str(one.arm.n),
            str(one.steps.decided),
            known(one.steps.tokens, ".1f"),
            known(one.steps.log_ratio, ".2f"),
            known(one.steps.greatest_log_ratio, ".1f"),
            ", ".join(f"{why} {count}" for why, count in sorted(one.stop_reasons.items())) or UNKNOWN,
        )
        for one in tallies
    ]
    return TextTable("Decided steps", columns, rows)


def costs(tallies: Sequence[Tally]) -> TextTable:
    """Tokens, FLOPs and seconds a problem."""
    columns = ("method", "n", "draft tokens", "base tokens", "base scored", "FLOPs", "wall s", "wall s a step")
    rows = [
        (one.arm.method, str(one.arm.n), *_tokens(one), short(one.cost("flops"), digits=3), *_seconds(one))
        for one in tallies
    ]
    return TextTable("What a problem costs, means", (*columns, *(f"{role} s" for role in ROLES), "rest s"), rows)


def _tokens(one: Tally) -> list[str]:
    draft, base = one.tokens.get("draft"), one.tokens.get("base")
    generated = [None if role is None else role.generated for role in (draft, base)]
    return [known(number, ".0f") for number in (*generated, None if base is None else base.scored)]


def _seconds(one: Tally) -> list[str]:
    """Of the wall, of a step, of draft, base and reward, of the rest."""
    spent = one.seconds
    if spent is None:
        return [UNKNOWN] * 6
    step = None if spent.per_step is None else spent.per_step.value
    marked = [known(number, ".3g", one.mark) for number in (spent.total.value, step)]
    return [*marked, *(known(number, ".3g") for number in spent.parts.values())]


def pairwise(comparisons: Sequence[Comparison], title: str) -> TextTable:
    """Paired differences, in percentage points."""
    rows = [
        (
            one.label,
            one.points,
            f"{one.difference.better} : {one.difference.worse} of {one.difference.problems}",
            probability(one.difference.p_value),
            probability(one.p_holm),
        )
        for one in comparisons
    ]
    return TextTable(title, ("difference of accuracy", "points", "better : worse problems", "p", "p (Holm)"), rows)


def rewards(curves: Sequence[Curve]) -> TextTable:
    """How well rewards tell good from bad."""
    rows = [
        (
            one.source,
            AGAINST[one.kind],
            str(one.count),
            f"{one.good:.3f}",
            known(one.auroc, ".3f"),
            f"{one.brier:.3f}",
            f"{one.ece:.3f}",
        )
        for one in curves
    ]
    return TextTable("Rewards", ("reward of", "judged against", "count", "good", "AUROC", "Brier", "ECE"), rows)
