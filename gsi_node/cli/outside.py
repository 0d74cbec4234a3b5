"""What the shipped models do not know is not asked of them: they would answer with confidence, and wrongly.

The node, the chat model, the tool and the endpoints answer whatever they are asked; `gsi solve` is where people try.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

from gsi_node.cli.problems import MathProblem
from gsi_node.errors import ConfigError, shown
from gsi_node.host.shell import DONE
from gsi_node.pocket.world.problems import FAMILIES, problems
from gsi_node.pocket.world.reading import recognised
from gsi_node.types import default_id

OUTSIDE = (
    "outside pocket math: the shipped models do not know this. --examples prints what they can be asked, --anyway asks "
    "them all the same, --draft, --base and --reward name models that know more"
)


def known_to_pocket(asked: Sequence[MathProblem]) -> list[MathProblem]:
    """Each problem in the world's own words, or refused. Raises ConfigError where it is one problem, and refused."""
    found = [_known(problem) for problem in asked]
    if len(found) == 1 and found[0].refusal is not None:
        raise ConfigError(f"{shown(found[0].text)} is {found[0].refusal}")
    return found


def _known(problem: MathProblem) -> MathProblem:
    text = recognised(problem.text)
    if text is None:
        return replace(problem, refusal=OUTSIDE)
    if text == problem.text:
        return problem
    named_after = default_id(problem.text) == problem.problem_id
    return MathProblem(text, default_id(text) if named_after else problem.problem_id, asked=problem.text)


def examples() -> int:
    """Two problems of each family on standard output, a line each. The exit code."""
    for family in FAMILIES:
        for problem in problems("test", 0, 2, [family]):
            sys.stdout.write(f"{problem.problem}\n")
    return DONE
