"""What every client of a server is: one coroutine a request, awaited, or waited for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from gsi_node.bases import Closing
from gsi_node.models.servers.http import Transport
from gsi_node.types import Key, Prefix, SamplingLaw, Score, Step


class Client(Closing):
    """Something behind `transport`."""

    transport: Transport

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()


class ModelClient(Client):
    """The methods of a StepModel, from the two requests _sample and _score."""

    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        """y_1..y_n ~ π(· | x)."""
        return self.transport.wait(self._sample(prefix, n, key, law))

    async def asample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        return await self.transport.join(self._sample(prefix, n, key, law))

    def score(self, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]:
        """log π(y_i | x) under `law`, in nats, with its certified bound."""
        return self.transport.wait(self._score(prefix, steps, law))

    async def ascore(self, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]:
        return await self.transport.join(self._score(prefix, steps, law))

    @abstractmethod
    async def _sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]: ...

    @abstractmethod
    async def _score(self, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]: ...
