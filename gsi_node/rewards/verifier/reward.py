"""A rule-based process reward: checks the arithmetic that a step states, exactly and in bounded time."""

from __future__ import annotations

from collections.abc import Sequence

from gsi_node.bases import RewardBase
from gsi_node.errors import ConfigError
from gsi_node.rewards.verifier.relations import relations
from gsi_node.types import Prefix, Step

MAX_CHARACTERS = 2048
"""Characters of one step that are read: a step of 512 tokens fits."""
MAX_SIGNS = 64
"""Relation signs of one step that are judged. Beyond both bounds a step can be disproved, but not proved."""


class VerifierReward(RewardBase):
    """r(x, y) = 0 if a relation written in y is false; 1 if some are checkable and all of those hold; else the prior.

    Looks at the step alone, never at the problem: it finds slips of the pen, not a wrong plan. "=" is exact (1/3 = 0.33
    is false), "≈" asks for a correct rounding to the digits shown. docs/decisions/0004 tells what is checkable.
    """

    def __init__(self, prior: float = 0.5) -> None:
        """prior: the reward, dimensionless and in [0, 1], of a step with nothing to check."""
        if not 0.0 <= prior <= 1.0:
            raise ConfigError(f"VerifierReward(prior={prior!r}): the prior is a reward, so choose it in [0, 1]")
        self._prior = float(prior)

    @property
    def fingerprint(self) -> str:
        return f"verifier-2(prior={self._prior!r}, characters={MAX_CHARACTERS}, signs={MAX_SIGNS})"

    def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        return [self._reward(step.text) for step in steps]

    def _reward(self, text: str) -> float:
        cut = len(text) > MAX_CHARACTERS
        read = text[:MAX_CHARACTERS] + "\x00" if cut else text  # the mark keeps a number cut in two from being checked
        held = False
        for judged, relation in enumerate(relations(read)):
            if judged == MAX_SIGNS:
                cut = True
                break
            if relation.holds is False:
                return 0.0
            held = held or relation.holds is True
        return 1.0 if held and not cut else self._prior
