"""What to derive a model or reward of your own from, and the error that names a member which is missing.

GSI needs `vocabulary`, `sample` and, for methods with a ratio, `score` of a model, and `__call__` of a reward.
docs/backends.md has a skeleton of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from types import TracebackType
from typing import Self

from gsi_node.cancel import run_cancellable
from gsi_node.errors import ConfigError, LawMismatch, shown
from gsi_node.identity import own_fingerprint
from gsi_node.protocols import Reward, StepModel, name_of
from gsi_node.types import PARAGRAPH, Key, Prefix, SamplingLaw, Score, Step


class Closing:
    """close() at the end of a with block."""

    def close(self) -> None:
        """Free what it holds: connections, caches."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncTwins(Closing):
    """asample and ascore for a synchronous backend: the sync method in a worker thread, stopped on cancellation."""

    async def asample(self: StepModel, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        return await run_cancellable(self.sample, prefix, n, key, law)

    async def ascore(self: StepModel, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]:
        return await run_cancellable(self.score, prefix, steps, law)


class StepModelBase(AsyncTwins):
    """All that a StepModel needs beside `vocabulary`, `sample` and, for methods with a ratio, `score`."""

    eos_ids: tuple[int, ...] = ()
    """None: no id of its own ends a response, as `finished` says alone."""

    @cached_property
    def fingerprint(self) -> str:
        """identity.own_fingerprint, as it was when first asked for. Define it where the model holds a client, weights
        or a file: without a name of its own, such a model is another one in every process, and no checkpoint goes on
        with it."""
        return own_fingerprint(self)

    def supports(self, law: SamplingLaw) -> None:
        """Every law whose steps are paragraphs: raise LawMismatch for those that `sample` does not follow."""
        if law.ends != PARAGRAPH:
            raise LawMismatch(
                f"{name_of(self)} does not say that its steps end at {law.ends}: leave step_end out, or define supports"
            )

    def encode(self, text: str) -> tuple[int, ...]:
        """ConfigError: define it to begin from `initial_steps` that are texts."""
        raise ConfigError(
            f"{name_of(self)} does not encode texts: give initial_steps their token_ids, or define encode"
        )

    def score(self, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]:
        """LawMismatch: define it for methods with a ratio."""
        raise LawMismatch(f"{name_of(self)} lacks score, which methods with a ratio ask for; use rsd-n or sbon-draft")


class RewardBase(Closing):
    """All that a Reward in [0, 1] needs beside `__call__`. Its acall is the call in a worker thread, stopped on
    cancellation."""

    range: tuple[float, float] = (0.0, 1.0)

    @cached_property
    def fingerprint(self) -> str:
        """As StepModelBase has it."""
        return own_fingerprint(self)

    async def acall(self: Reward, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        return await run_cancellable(self.__call__, prefix, steps)


def require_model(role: str, model: object, *, score: bool) -> None:
    """ConfigError, which names the members that are missing, unless it is a StepModel. score: whether it is scored."""
    members = ("vocabulary", "sample", "fingerprint", "eos_ids", "supports", "encode", *(["score"] if score else []))
    missing = _missing(role, model, members)
    if score and getattr(type(model), "score", None) is StepModelBase.score:
        missing.append("score")
    if {"vocabulary", "sample"} <= set(missing):
        raise _no_such_thing(role, model, "StepModel", "load_model")
    if missing:
        own = "vocabulary, sample and, for methods with a ratio, score"
        raise ConfigError(
            f"{role}: {type(model).__name__} lacks {' and '.join(missing)}; gsi_node.StepModelBase has all but {own}"
        )


def require_reward(role: str, reward: object) -> None:
    """ConfigError, which names the members that are missing, unless it is a Reward."""
    missing = _missing(role, reward, ("__call__", "range", "fingerprint"))
    if {"__call__", "range"} <= set(missing):
        raise _no_such_thing(role, reward, "Reward", "load_reward")
    if missing:
        raise ConfigError(
            f"{role}: {shown(reward)} lacks {' and '.join(missing)}; gsi_node.RewardBase has all but __call__, and "
            "gsi_node.callable_reward(fn) makes a reward of fn(problem, step_texts) -> float"
        )


def _missing(role: str, model: object, members: Iterable[str]) -> list[str]:
    """Those that it has not. The class is asked first: a property may take long."""
    if isinstance(model, type):
        raise ConfigError(f"{role}: got the class {model.__name__}; give an object of it, {model.__name__}(…)")
    return [
        name
        for name in members
        if not (callable(model) if name == "__call__" else hasattr(type(model), name) or hasattr(model, name))
    ]


def _no_such_thing(role: str, found: object, protocol: str, loader: str) -> ConfigError:
    return ConfigError(
        f"{role}: want an object with the {protocol} protocol, got {type(found).__name__} {shown(found)}; "
        f"gsi_node.{loader}(spec) makes one from a spec"
    )
