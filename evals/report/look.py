"""The colour, marker and line of each method, the same in every plot of every report: they follow from its rules.

The first seven colours are Okabe and Ito's, which the common colour-blindnesses tell apart; markers repeat what colours
say.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import cycle

from evals.run.plan import MAJORITY
from gsi_node.step.methods import METHODS, Method

DRAFT, BASE, SCORED, REWARD, REST = "#CC79A7", "#0072B2", "#56B4E9", "#E69F00", "#BBBBBB"
"""Of the models' parts in costs and curves."""
COLOURS = "#0072B2 #56B4E9 #D55E00 #009E73 #E69F00 #CC79A7 #000000 #7F7F7F #882255 #332288 #999933 #8B4513".split()
MARKERS = "ovD^hsXP<>pHd8x+1234"


@dataclass(frozen=True, slots=True)
class Look:
    """Of one method's points and line."""

    colour: str
    marker: str
    line: str


OTHER = Look("#7F7F7F", "H", "--")
"""Of a name that is no method."""


def look(name: str) -> Look:
    """By name: a colour for all methods that propose, refuse and judge alike, a marker for each of them, a dotted line
    for a single candidate, a dashed one for the best of n. A majority looks like what writes its responses, starred."""
    if name in MAJORITY:
        return replace(look(MAJORITY[name]), marker="*", line="-.")
    if name not in METHODS:
        return OTHER
    method = METHODS[name]
    kinds = dict(zip(dict.fromkeys(map(_kind, METHODS.values())), cycle(COLOURS)))
    markers = dict(zip(METHODS, cycle(MARKERS)))
    best_of_n = method.weigh is not None and not method.weigh.importance
    return Look(kinds[_kind(method)], markers[name], ":" if method.single else "--" if best_of_n else "-")


def _kind(method: Method) -> tuple[str, str, bool, bool]:
    """What methods of one colour have in common."""
    return method.propose, method.accept.shown if method.accept else "", method.uses_ratio, method.scans
