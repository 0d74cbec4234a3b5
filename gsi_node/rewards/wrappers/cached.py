"""Rewards remembered by content: a step that comes again after the same texts is not asked for again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock

from gsi_node.errors import ConfigError
from gsi_node.protocols import Reward, name_of
from gsi_node.rewards.wrappers.wrapped import Rewards, Wrapped
from gsi_node.types import Prefix, Step, Turn

CacheKey = tuple[tuple[Turn, ...], str, tuple[tuple[str, int], ...], str, int, bool]


class CachedReward(Wrapped):
    """r(x, y) of `inner`, kept for the last `entries` different (turns and problem, texts of the steps, text of y,
    what of them is thinking, finished).

    For rewards that read texts and give the same number each time; all of this package's do.
    """

    def __init__(self, inner: Reward, entries: int = 4096) -> None:
        if entries < 1:
            raise ConfigError(f"a reward cache of {entries} entries holds nothing; give at least 1, or leave it out")
        super().__init__(inner, name=f"cached {name_of(inner)}")
        self.hits = self.misses = 0
        self._entries = entries
        self._known: OrderedDict[CacheKey, float] = OrderedDict()
        self._lock = Lock()

    @property
    def fingerprint(self) -> str:
        return self.members[0].fingerprint

    def plan(self, prefix: Prefix, steps: Sequence[Step]) -> tuple[Sequence[Step], Callable[[Rewards], list[float]]]:
        before = tuple((step.text, step.thought) for step in prefix.steps)
        contents = [(prefix.earlier, prefix.problem, before, step.text, step.thought, step.finished) for step in steps]
        with self._lock:
            found = {content: self._known[content] for content in contents if content in self._known}
            for content in found:
                self._known.move_to_end(content)
        asked = {content: step for content, step in zip(contents, steps, strict=True) if content not in found}
        self.hits += len(steps) - len(asked)
        self.misses += len(asked)

        def stored(said: Rewards) -> list[float]:
            new = dict(zip(asked, said[0] if said else (), strict=True))
            with self._lock:
                self._known.update(new)
                while len(self._known) > self._entries:
                    self._known.popitem(last=False)
            known = found | new
            return [known[content] for content in contents]

        return list(asked.values()), stored
