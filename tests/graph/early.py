"""Runs that judge early: models that tell of candidates one by one, and judges that note who asked them what."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from gsi_node.hearing import at_hand, current_hear
from gsi_node.tables.models import TableModel, TokenTable
from gsi_node.tables.rewards import TableReward
from gsi_node.types import Key, Prefix, SamplingLaw, Score, Step
from tests.graph.world import reward_of, steps_then_answer
from tests.token_world import EOS, TOKENS, chain

EARLY = "gsi-early"


def judges_alive() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == EARLY]


def quiet(seconds: float = 10.0) -> bool:
    """Whether no candidate is being judged early any more."""
    until = time.monotonic() + seconds
    while judges_alive() and time.monotonic() < until:
        time.sleep(0.0002)
    return not judges_alive()


def is_early() -> bool:
    return threading.current_thread().name == EARLY


class Ending:
    """A draft whose candidates end one by one, the last first, each judged before the next ends where it `waits`; the
    first candidate is there only with the answer. scored: what it scored, and whether early."""

    waits = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.scored: list[tuple[bool, list[str]]] = []

    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        steps: list[Step] = super().sample(prefix, n, key, law)  # type: ignore[misc]
        if (hear := current_hear()) is not None:
            ended = at_hand(steps)
            for place in range(n - 1, 0, -1):
                hear({place: ended[place]})
                assert not self.waits or quiet()
        return steps

    def score(self, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]:
        self.scored.append((is_early(), [step.text for step in steps]))
        scores: list[Score] = super().score(prefix, steps, law)  # type: ignore[misc]
        return scores


class EndingTable(Ending, TableModel):
    pass


class EndingTokens(Ending, TokenTable):
    pass


class Noting(TableReward):
    """A reward that notes what it was asked, and by whom."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.asked: list[tuple[bool, list[str]]] = []

    def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        self.asked.append((is_early(), [step.text for step in steps]))
        return super().__call__(prefix, steps)


def parts(length: int = 5) -> dict[str, Any]:
    """The world of world.py."""
    return {
        "draft": EndingTable(steps_then_answer(0.4, length), name="draft"),
        "base": EndingTable(steps_then_answer(0.8, length), name="base"),
        "reward": Noting(reward_of, name="reward"),
    }


def token_reward(prefix: Prefix, step: Step) -> float:
    return 0.9 if "a" in step.text else 0.2


def token_parts(seed: int = 5) -> dict[str, Any]:
    """Token tables, whose laws depend on the whole prefix, and are cut where a budget cuts."""
    draft, base = (EndingTokens(TOKENS, chain(2 * seed + i), eos=EOS, name=f"m{i}") for i in (1, 2))
    return {"draft": draft, "base": base, "reward": Noting(token_reward, name="tokens")}
