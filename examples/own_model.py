"""A step model of your own: here a list of phrases with their probabilities; checked against the contract, and used."""

from collections.abc import Sequence
from math import log

from gsi_node import GSIConfig, Key, Models, Prefix, SamplingLaw, Score, Step, StepModelBase, Stream, load_reward, solve
from gsi_node.testing import check_step_model

PHRASES = ("First, 2 + 2 = 4.\n\n", "First, 2 + 2 = 5.\n\n", r"So the answer is \boxed{4}.")


class Phrases(StepModelBase):
    """Token i is phrase i, and every phrase is a step; the last one ends the response."""

    vocabulary = "three phrases"  # draft and base must agree on it
    eos_ids = (2,)

    def __init__(self, *probabilities: float) -> None:
        self.probabilities = probabilities

    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        return [self._step(Stream(key, i).uniform()) for i in range(n)]  # candidate i draws from stream i alone

    def score(self, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]:
        return [Score(log(self.probabilities[step.token_ids[0]])) for step in steps]

    def _step(self, u: float) -> Step:
        i = 0 if u < self.probabilities[0] else 1 if u < sum(self.probabilities[:2]) else 2
        return Step(PHRASES[i], (i,), log(self.probabilities[i]), finished=i == 2)


draft, base = Phrases(0.3, 0.4, 0.3), Phrases(0.3, 0.1, 0.6)
check_step_model(lambda: Phrases(0.3, 0.4, 0.3), tolerance=1e-9, eos=2, cuts=False)
print(solve("What is 2 + 2?", Models(draft, base, load_reward("verifier")), GSIConfig(n=4)).response)
