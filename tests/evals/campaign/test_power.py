"""`evals power`: against every outcome of few problems, and the figures that the campaign was planned by."""

from __future__ import annotations

from math import comb

import pytest

from evals.__main__ import main as evals
from evals.campaign.power import power
from evals.report import stats


@pytest.mark.parametrize(
    ("n", "difference", "discordance"), [(9, 0.3, 0.5), (14, 0.0, 0.6), (12, 0.4, 0.4), (3, 0.1, 0.2)]
)
def test_it_is_the_sum_over_all_outcomes(n: int, difference: float, discordance: float) -> None:
    """b problems won, c lost: n! / (b! c! (n−b−c)!) · p^b q^c (1−d)^(n−b−c), with the report's own test."""
    win, lose = (discordance + difference) / 2, (discordance - difference) / 2
    total = sum(
        comb(n, b) * comb(n - b, c) * win**b * lose**c * (1 - discordance) ** (n - b - c)
        for b in range(n + 1)
        for c in range(n + 1 - b)
        if stats.sign_flip_p([1] * b + [-1] * c + [0] * (n - b - c)) <= 0.05
    )
    assert power(n, difference, discordance) == pytest.approx(total, abs=1e-12)


def test_the_campaigns_figures(capsys: pytest.CaptureFixture[str]) -> None:
    """8 points at discordance .25; it had been planned with .29, .58 and .77, simulated."""
    assert evals(["power", "--points", "8", "--discordance", "0.25", "--n", "100,200,300"]) == 0
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [float(line.split("|")[4]) for line in lines] == [0.284, 0.578, 0.767]


@pytest.mark.parametrize(
    "argv",
    [
        ("--points", "30", "--discordance", "0.25", "--n", "10"),
        ("--points", "0", "--discordance", "0", "--n", "9"),
        ("--points", "1", "--discordance", "0.2", "--n", "0"),
    ],
)
def test_what_cannot_be_is_one_line(argv: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert evals(["power", *argv]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: --") and told.count("\n") == 1
