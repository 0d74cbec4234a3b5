"""What GSI asks of a language model (sample steps, and score given steps, under one law) and of a reward model.

Contract (tests/models/contract.py runs it over every backend): score(prefix, sample(…)) returns the samples' own
log_prob; a batch equals its singles; a cached prefix equals a cold one; the same key gives the same steps; another
candidate index gives independent ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from gsi_node.cancel import run_cancellable
from gsi_node.types import Array, Key, Prefix, SamplingLaw, Score, Step


@runtime_checkable
class StepModel(Protocol):
    """A language model π as GSI sees it. All log-probabilities are in nats under the given law."""

    @property
    def vocabulary(self) -> str:
        """A fingerprint of the id → token map; draft and base must agree on it."""
        ...

    @property
    def fingerprint(self) -> str:
        """A fingerprint of everything that determines the numbers: weights, dtype, prompt. Stored in checkpoints."""
        ...

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Sorted ids that end a step: every id whose text contains "\\n\\n", and EOS."""
        ...

    def supports(self, law: SamplingLaw) -> None:
        """Return None, or raise LawMismatch saying what this backend could do instead."""
        ...

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of plain text (never control tokens); raises ConfigError for characters it cannot represent."""
        ...

    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        """y_1..y_n ~ π(· | x) independently; candidate i draws from Stream(key, i) only."""
        ...

    def score(self, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]:
        """log π(y_i | x) for given token ids, in one forward pass and without generation."""
        ...


@runtime_checkable
class DecodingModel(StepModel, Protocol):
    """A step model that also tells what token ids say; of one that cannot, the node takes `initial_steps` with ids only
    where they are what `encode` makes of the text."""

    def step_of(self, token_ids: Sequence[int], log_prob: float) -> Step:
        """The step of these token ids: its text, and whether it ends with EOS."""
        ...


@runtime_checkable
class TokenModel(DecodingModel, Protocol):
    """A step model that also gives whole next-token laws, as token-level speculative decoding needs them."""

    def next_log_probs(
        self, prefix: Prefix, rows: Sequence[tuple[int, ...]], starts: Sequence[int], law: SamplingLaw
    ) -> list[Array]:
        """log π(· | x, row[:j]) under `law` for j = start … len(row), in nats: shape (len(row) − start + 1, ids) a row.

        The last axis counts token ids from 0; draft and base agree on its length. Every row continues the same prefix.
        """
        ...


class AsyncTwins:
    """asample and ascore for a synchronous backend: the sync method in a worker thread, stopped on cancellation."""

    async def asample(self: StepModel, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        return await run_cancellable(self.sample, prefix, n, key, law)

    async def ascore(self: StepModel, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]:
        return await run_cancellable(self.score, prefix, steps, law)


@runtime_checkable
class Reward(Protocol):
    """r(x, y): a process reward. Values are dimensionless and lie in `range`, usually (0, 1)."""

    @property
    def range(self) -> tuple[float, float]:
        """The closed interval all rewards lie in."""
        ...

    @property
    def fingerprint(self) -> str:
        """A fingerprint of everything that determines the rewards. Stored in checkpoints."""
        ...

    def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        """One reward a step, in order; every step is a candidate continuation of the same prefix."""
        ...


class AsyncTwin:
    """acall for a synchronous reward: the call in a worker thread, stopped on cancellation."""

    async def acall(self: Reward, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        return await run_cancellable(self.__call__, prefix, steps)


def name_of(model: object) -> str:
    """What a model or reward is called in messages: its optional `name`, else its type's."""
    return str(getattr(model, "name", type(model).__name__))
