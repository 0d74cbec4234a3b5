"""Which problems are of one kind, and the splits that keep kinds whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Self

from evals.data.problems import Problem
from evals.train_reward.judged import SPLIT_NAMES, SplitName
from evals.train_reward.overlap import clusters
from gsi_node.errors import ConfigError

SHARES: Mapping[SplitName, float] = {"fit": 0.6, "calibrate": 0.2, "gate": 0.2}
LEAST = 5
"""Templates: two to fit and to cross-validate on, two to measure on, one to calibrate on."""


@dataclass(frozen=True, slots=True)
class SplitProblems:
    """Problems, and of each by its id its template and its split."""

    problems: tuple[Problem, ...]
    template: Mapping[str, str]
    split: Mapping[str, SplitName]

    @classmethod
    def of(cls, problems: Sequence[Problem], seed: int) -> Self:
        """Split, by what the seed draws. Raises ConfigError where they are of too few kinds."""
        template = dict(zip([problem.id for problem in problems], templates(problems), strict=True))
        parts = split(list(template.values()), seed)
        return cls(tuple(problems), template, {id: parts[name] for id, name in template.items()})

    def within(self, *names: SplitName) -> list[Problem]:
        """Those of some splits."""
        return [problem for problem in self.problems if self.split[problem.id] in names]


def templates(problems: Sequence[Problem]) -> list[str]:
    """The template of each problem: problems that are copies of one another, numbers and names masked, have one
    (overlap.py), and so have copies of copies. It is named by its first problem."""
    return [problems[place].id for place in clusters([problem.problem for problem in problems])]


def spread(sizes: Mapping[str, int], shares: Sequence[float], seed: int) -> dict[str, int]:
    """Which of the parts each thing goes to, so that the parts' sizes come near their shares of the whole.

    The largest first, equals in an order that the seed draws; each to the part that lacks most.
    """
    total, have = sum(sizes.values()), [0.0] * len(shares)
    found = {}
    for name in sorted(sizes, key=lambda name: (-sizes[name], blake2b(f"{seed} {name}".encode()).digest())):
        part = max(range(len(shares)), key=lambda i: shares[i] * total - have[i])
        have[part] += sizes[name]
        found[name] = part
    return found


def split(names: Sequence[str], seed: int) -> dict[str, SplitName]:
    """The split of each template. names: the template of each problem. Raises ConfigError where there are too few."""
    sizes = Counter(names)
    if len(sizes) < LEAST:
        raise ConfigError(
            f"the problems are of {len(sizes)} kinds, and no kind may be in two of {', '.join(SPLIT_NAMES)}: want "
            f"{LEAST} at least; name further sets (--data again), or more problems (--limit)"
        )
    parts = spread(sizes, list(SHARES.values()), seed)
    return {name: SPLIT_NAMES[part] for name, part in parts.items()}
