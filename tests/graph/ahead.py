"""Runs that guess: models that tell what was asked for whom, and rewards that wait until no guess is under way."""

from __future__ import annotations

import threading
import time
from typing import Any

from gsi_node.tables.models import TableModel, TokenTable
from gsi_node.tables.rewards import TableReward
from gsi_node.types import Key, Prefix, SamplingLaw, Step
from tests.graph.world import plain, reward_of, steps_then_answer
from tests.token_world import EOS, TOKENS, chain

GUESS = "gsi-guess"


def guesses_alive() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == GUESS]


def settled(seconds: float = 10.0) -> bool:
    """Whether no guess is under way any more."""
    until = time.monotonic() + seconds
    while guesses_alive() and time.monotonic() < until:
        time.sleep(0.0005)
    return not guesses_alive()


class Telling:
    """What of a draft or base was asked by runs, and what by guesses."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.asked: list[Key] = []
        self.guessed: list[Key] = []

    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        (self.guessed if threading.current_thread().name == GUESS else self.asked).append(key)
        steps: list[Step] = super().sample(prefix, n, key, law)  # type: ignore[misc]
        return steps


class TellingTable(Telling, TableModel):
    pass


class TellingTokens(Telling, TokenTable):
    pass


def patient(prefix: Prefix, step: Step) -> float:
    """The world's reward, once all guesses are there."""
    assert settled()
    return reward_of(prefix, step)


def parts(length: int = 5) -> dict[str, Any]:
    """The world of world.py, whose judges take longer than any guess."""
    return {
        "draft": TellingTable(steps_then_answer(0.4, length), name="draft"),
        "base": TellingTable(steps_then_answer(0.8, length), name="base"),
        "reward": TableReward(patient, name="reward"),
    }


def token_parts(seed: int = 5) -> dict[str, Any]:
    """Token tables, whose laws depend on the whole prefix, and are cut where a budget cuts."""
    draft, base = (TellingTokens(TOKENS, chain(2 * seed + i), eos=EOS, name=f"m{i}") for i in (1, 2))
    reward = TableReward(lambda prefix, step: (settled(), 0.9 if "a" in step.text else 0.2)[1], name="tokens")
    return {"draft": draft, "base": base, "reward": reward}


def bare(result: dict[str, Any]) -> dict[str, Any]:
    """What K decides nothing of: all but seconds, message ids, and the tokens of guesses."""
    found = plain(result)
    usage = {role: {k: v for k, v in bill.items() if k != "discarded_tokens"} for role, bill in found["usage"].items()}
    return {**found, "usage": usage}
