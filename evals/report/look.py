"""The colour, marker and line of each method, the same in every plot of every report; the colours of the models.

Colours are Okabe and Ito's, which the common colour-blindnesses tell apart; markers repeat what colours say.
"""

from __future__ import annotations

from dataclasses import dataclass

DRAFT, BASE, SCORED, REWARD, REST = "#CC79A7", "#0072B2", "#56B4E9", "#E69F00", "#BBBBBB"
"""Of the models' parts in costs and curves."""


@dataclass(frozen=True, slots=True)
class Look:
    """Of one method's points and line."""

    colour: str
    marker: str
    line: str


STYLES = {
    "gsi": Look("#0072B2", "o", "-"),
    "gsi-ic": Look("#D55E00", "D", "-"),
    "expgsi": Look("#009E73", "^", "-"),
    "gsi-no-fallback": Look("#56B4E9", "v", "-"),
    "rsd-n": Look("#E69F00", "s", "-"),
    "rsd": Look("#E69F00", "h", ":"),
    "sbon-draft": Look("#CC79A7", "X", "-"),
    "sbon-base": Look("#000000", "P", "-"),
    "bon-draft": Look("#CC79A7", "<", "--"),
    "bon-base": Look("#000000", ">", "--"),
    "draft": Look("#CC79A7", "p", ":"),
    "base": Look("#000000", "p", ":"),
    "majority-draft": Look("#CC79A7", "*", "-."),
    "majority-base": Look("#000000", "*", "-."),
    "specdec": Look("#7F7F7F", "8", ":"),
    "specdec-sbon": Look("#7F7F7F", "d", "--"),
}
OTHER = Look("#7F7F7F", "H", "--")


def look(method: str) -> Look:
    """The look of a method by name."""
    return STYLES.get(method, OTHER)
