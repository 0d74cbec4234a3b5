"""Rewards remembered by content: a step that comes again after the same texts is not asked for again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock

from gsi_node.cancel import run_cancellable
from gsi_node.errors import BackendError, ConfigError, RewardOutOfRange
from gsi_node.protocols import Reward, name_of
from gsi_node.types import Prefix, Step

Content = tuple[str, tuple[str, ...], str, bool]


class CachedReward:
    """r(x, y) of `inner`, kept for the last `entries` different (problem, texts of the steps, text of y, finished).

    For rewards that read texts and give the same number each time; all of this package's do.
    """

    def __init__(self, inner: Reward, entries: int = 4096) -> None:
        if entries < 1:
            raise ConfigError(f"a reward cache of {entries} entries holds nothing; give at least 1, or leave it out")
        self.inner = inner
        self.name = f"cached {name_of(inner)}"
        self.hits = self.misses = 0
        self._entries = entries
        self._known: OrderedDict[Content, float] = OrderedDict()
        self._lock = Lock()

    @property
    def range(self) -> tuple[float, float]:
        return self.inner.range

    @property
    def fingerprint(self) -> str:
        return self.inner.fingerprint

    def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        found, asked = self._look_up(prefix, steps)
        return self._store(found, asked, self.inner(prefix, list(asked.values())) if asked else [])

    async def acall(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        found, asked = self._look_up(prefix, steps)
        if not asked:
            return self._store(found, asked, [])
        twin = getattr(self.inner, "acall", None)
        wanted = list(asked.values())
        work = run_cancellable(self.inner.__call__, prefix, wanted) if twin is None else twin(prefix, wanted)
        return self._store(found, asked, await work)

    def _look_up(
        self, prefix: Prefix, steps: Sequence[Step]
    ) -> tuple[list[tuple[Content, float | None]], dict[Content, Step]]:
        """Each candidate's content and known reward, and the different contents that are not known."""
        before = tuple(step.text for step in prefix.steps)
        contents = [(prefix.problem, before, step.text, step.finished) for step in steps]
        with self._lock:
            found = [(content, self._known.get(content)) for content in contents]
            for content, value in found:
                if value is not None:
                    self._known.move_to_end(content)
        asked = {content: step for (content, value), step in zip(found, steps, strict=True) if value is None}
        self.hits += len(steps) - len(asked)
        self.misses += len(asked)
        return found, asked

    def _store(
        self, found: list[tuple[Content, float | None]], asked: dict[Content, Step], values: Sequence[float]
    ) -> list[float]:
        if len(values) != len(asked):
            raise BackendError(f"{self.name}: {len(values)} rewards for {len(asked)} candidates")
        low, high = self.range
        for (problem, _, text, _), value in zip(asked, values, strict=True):
            if not low <= value <= high:  # kept, it would be wrong for ever
                raise RewardOutOfRange(
                    f"{self.name}: {value} for {text[:60]!r} of problem {problem[:60]!r}, but the declared range is "
                    f"[{low}, {high}]"
                )
        new = dict(zip(asked, values, strict=True))
        with self._lock:
            self._known.update(new)
            while len(self._known) > self._entries:
                self._known.popitem(last=False)
        return [new[content] if value is None else value for content, value in found]
