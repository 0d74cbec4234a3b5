"""What GSI asks of a language model (sample steps, and score given steps, under one law) and of a reward model.

Contract (gsi_node.testing runs it over a backend): score(prefix, sample(…)) returns the samples' own log_prob; a batch
equals its singles; a cached prefix equals a cold one; the same key gives the same steps; another candidate index gives
independent ones.

Derive your own from StepModelBase or RewardBase, which have defaults for what GSI does not need. Optional members, each
read by a function or protocol of this file and nowhere else:

    name                        what it is called in messages (name_of)
    asample, ascore, acall      the method of that name without its "a", awaited (aask)
    step_of                     the step that token ids make (DecodingModel)
    next_log_probs              whole next-token laws (TokenModel)
    check_ratio(law)            raises LawMismatch where it cannot take part in π_B/π_S (check_ratio)
    findings                    what the doctor prints of it, a line each (findings_of)
    close()                     frees what it holds (close)
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from functools import cached_property
from types import TracebackType
from typing import Any, Literal, Protocol, Self, cast, runtime_checkable

from gsi_node.cancel import run_cancellable
from gsi_node.errors import BackendError, ConfigError, LawMismatch, RewardOutOfRange, shown
from gsi_node.identity import own_fingerprint
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

    stop_ids: tuple[int, ...] = ()
    """None: `sample` ends steps as it sees fit."""

    @cached_property
    def fingerprint(self) -> str:
        """identity.own_fingerprint, as it was when first asked for. Define it where the model holds a client, weights
        or a file: without a name of its own, such a model is another one in every process, and no checkpoint goes on
        with it."""
        return own_fingerprint(self)

    def supports(self, law: SamplingLaw) -> None:
        """Every law: raise LawMismatch for those that `sample` does not follow."""

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


Question = Literal["sample", "score", "next_log_probs", "__call__"]


def ask(backend: object, method: Question, *args: Any) -> Any:
    """backend.method(*args), rewards as floats and checked. Raises BackendError for what has another shape (a
    coroutine, one number for several candidates), RewardOutOfRange."""
    return _checked(backend, method, args, getattr(backend, method)(*args))


async def aask(backend: object, method: Question, *args: Any) -> Any:
    """`ask`, by the async twin of the method; in a worker thread, stopped on cancellation, where there is none."""
    twin = getattr(backend, "acall" if method == "__call__" else f"a{method}", None)
    if twin is None:
        return await run_cancellable(ask, backend, method, *args)
    return _checked(backend, method, args, await twin(*args))


def _checked(backend: object, method: Question, args: tuple[Any, ...], answer: Any) -> Any:
    if inspect.isawaitable(answer):
        if inspect.iscoroutine(answer):
            answer.close()
        twin = "acall, or make a reward of an async function with gsi_node.callable_reward"
        raise BackendError(
            f"{name_of(backend)}: {method} returned a {type(answer).__name__}: make it synchronous; what is awaited "
            f"belongs into {twin if method == '__call__' else f'a{method}'}"
        )
    return checked_rewards(cast("Reward", backend), args[0], args[1], answer) if method == "__call__" else answer


def checked_rewards(reward: Reward, prefix: Prefix, steps: Sequence[Step], answer: Any) -> list[float]:
    """What a reward answered, if it is one number a step within its range. Raises BackendError, RewardOutOfRange."""
    where = f"reward model {name_of(reward)}"
    try:
        values = [float(value) for value in answer]
    except (TypeError, ValueError):
        raise BackendError(
            f"{where} returned {shown(answer)}, a {type(answer).__name__}, for {len(steps)} candidates: want a list of "
            "one number each; gsi_node.callable_reward makes a reward of a function that returns one"
        ) from None
    if len(values) != len(steps):
        raise BackendError(
            f"{where} returned {len(values)} rewards for {len(steps)} candidates of {prefix.problem[:60]!r}; "
            "gsi_node.callable_reward makes a reward of a function that returns one number"
        )
    low, high = reward.range
    for i, value in enumerate(values):
        if not low <= value <= high:
            raise RewardOutOfRange(
                f"{where} gave {value} for candidate {i} ({steps[i].text[:60]!r}) of {prefix.problem[:60]!r}; its "
                f"range is [{low}, {high}]: declare the true range or mend the model"
            )
    return values


def require_model(role: str, model: object, *, score: bool) -> None:
    """ConfigError, which names the members that are missing, unless it is a StepModel. score: whether it is scored."""
    members = ("vocabulary", "sample", "fingerprint", "stop_ids", "supports", "encode", *(["score"] if score else []))
    missing = _missing(model, members)
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
    missing = _missing(reward, ("__call__", "range", "fingerprint"))
    if {"__call__", "range"} <= set(missing):
        raise _no_such_thing(role, reward, "Reward", "load_reward")
    if missing:
        raise ConfigError(
            f"{role}: {shown(reward)} lacks {' and '.join(missing)}; gsi_node.RewardBase has all but __call__, and "
            "gsi_node.callable_reward(fn) makes a reward of fn(problem, step_texts) -> float"
        )


def _missing(model: object, members: Iterable[str]) -> list[str]:
    """Those that it has not. The class is asked first: a property may take long."""
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


def name_of(model: object) -> str:
    """What a model or reward is called in messages; its type's name where it has none."""
    return str(getattr(model, "name", type(model).__name__))


def findings_of(model: object) -> tuple[str, ...]:
    """What the doctor prints of it."""
    return tuple(getattr(model, "findings", ()))


def check_ratio(model: object, law: SamplingLaw) -> None:
    """LawMismatch where a model says that it cannot take part in π_B/π_S under `law`."""
    if (check := getattr(model, "check_ratio", None)) is not None:
        check(law)


def close(model: object) -> None:
    """Free what a model or reward holds, where it says how."""
    if (free := getattr(model, "close", None)) is not None:
        free()
