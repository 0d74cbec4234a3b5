"""A reward around others: what it asks of them and makes of their answers is written once, for sync and async."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from gsi_node.bases import Closing
from gsi_node.cancel import together
from gsi_node.protocols import Reward, aask, ask, close, written_of
from gsi_node.types import Plain, Prefix, Step

Rewards = list[list[float]]
"""One list of rewards a member, in the order of the steps that were asked for."""


class Wrapped(Closing, ABC):
    """r(x, y) from what the `members` say: one number a step, each within its member's range."""

    def __init__(self, *members: Reward, name: str) -> None:
        self.members = members
        self.name = name

    @property
    def range(self) -> tuple[float, float]:
        return self.members[0].range

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """The members' fingerprints, and what is made of their rewards."""

    @abstractmethod
    def plan(self, prefix: Prefix, steps: Sequence[Step]) -> tuple[Sequence[Step], Callable[[Rewards], list[float]]]:
        """The steps to ask the members for, and what makes the rewards of all `steps` of their answers."""

    def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        asked, finish = self.plan(prefix, steps)
        said: Rewards = []
        for member in self.members if asked else ():
            with self.naming(member):
                said.append(ask(member, "__call__", prefix, asked))
        return finish(said)

    async def acall(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        """All members at a time; if one fails, the others are cancelled."""
        asked, finish = self.plan(prefix, steps)

        async def one(member: Reward) -> list[float]:
            with self.naming(member):
                rewards: list[float] = await aask(member, "__call__", prefix, asked)
                return rewards

        return finish(await together(one(member) for member in (self.members if asked else ())))

    def written(self, prefix: Prefix, step: Step) -> list[Plain]:
        """What the members wrote."""
        return [one for member in self.members for one in written_of(member, prefix, step)]

    def close(self) -> None:
        """Close the members."""
        for member in self.members:
            close(member)

    def naming(self, member: Reward) -> AbstractContextManager[None]:
        """What the errors of a member pass through."""
        return nullcontext()
