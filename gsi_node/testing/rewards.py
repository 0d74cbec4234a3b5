"""What every Reward must do. Each check raises ContractBroken."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gsi_node.bases import require_reward
from gsi_node.errors import BackendError, ContractBroken, RewardOutOfRange
from gsi_node.protocols import Reward, aask, ask
from gsi_node.testing.models import require
from gsi_node.types import Prefix, Step

PREFIX = Prefix("What is 2 + 2?", (Step("First, 2 + 2 is 1 + 3.\n\n", (1,), 0.0, False),))
TEXTS = ("So 1 + 3 = 4.\n\n", "So 1 + 3 = 5.\n\n", "\\boxed{4}", "It rains.\n\n")
STEPS = tuple(Step(text, (i,), 0.0, not text.endswith("\n\n")) for i, text in enumerate(TEXTS))


def check_reward(
    reward: Reward, *, prefix: Prefix = PREFIX, steps: Sequence[Step] = STEPS, tolerance: float = 1e-6
) -> None:
    """One number a step within the declared range; the same alone as in company, in any order, again, and awaited.

    prefix, steps: what it is asked for. tolerance: between two ways to one reward. Raises ContractBroken, ConfigError.
    """
    require_reward("the reward", reward)
    low, high = reward.range
    require(low < high, f"its range is [{low}, {high}], which holds no interval")
    name = reward.fingerprint
    found = _asked(reward, prefix, steps)
    require(found == _asked(reward, prefix, ()) + found, "it gives rewards where no step is asked for")
    _near(found, _asked(reward, prefix, steps), steps, tolerance, "asked again")
    alone = [_asked(reward, prefix, [step])[0] for step in steps]
    _near(found, alone, steps, tolerance, "asked alone")
    backwards = _asked(reward, prefix, list(reversed(steps)))[::-1]
    _near(found, backwards, steps, tolerance, "asked in another order")
    _near(found, asyncio.run(_awaited(reward, prefix, steps)), steps, tolerance, "awaited")
    require(reward.fingerprint == name, f"its fingerprint was {name!r:.80}, and is {reward.fingerprint!r:.80} now")


def _asked(reward: Reward, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
    try:
        rewards: list[float] = ask(reward, "__call__", prefix, steps)
    except (BackendError, RewardOutOfRange) as error:
        raise ContractBroken(str(error)) from error
    return rewards


async def _awaited(reward: Reward, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
    try:
        rewards: list[float] = await aask(reward, "__call__", prefix, steps)
    except (BackendError, RewardOutOfRange) as error:
        raise ContractBroken(str(error)) from error
    return rewards


def _near(found: Sequence[float], other: Sequence[float], steps: Sequence[Step], tolerance: float, how: str) -> None:
    for a, b, step in zip(found, other, steps, strict=True):
        require(abs(a - b) <= tolerance, f"{step.text!r:.60} has reward {a}, and {b} {how}")
