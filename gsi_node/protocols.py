"""What GSI asks of a language model (sample steps, and score given steps, under one law) and of a reward model.

Contract (gsi_node.testing runs it over a backend): score(prefix, sample(…)) returns the samples' own log_prob; a batch
equals its singles; a cached prefix equals a cold one; the same key gives the same steps; another candidate index gives
independent ones.

bases.py has defaults for what GSI does not need of a model of your own. Optional members, each read by a function or
protocol of this file and nowhere else:

    name                        what it is called in messages (name_of)
    asample, ascore, acall      the method of that name without its "a", awaited (aask)
    step_of                     the step that token ids make (DecodingModel)
    next_log_probs              whole next-token laws (TokenModel)
    check_ratio(law)            raises LawMismatch where it cannot take part in π_B/π_S (check_ratio)
    prompt_date                 the day that its prompts tell, a text; None for none (date_of)
    thinking                    how it thinks before it answers (thinking_of)
    continues                   False where it cannot go on from steps (continues)
    findings                    what the doctor prints of it, a line each (findings_of)
    close()                     frees what it holds (close)
    shares_positions            whether candidates of a call are one row until they differ (shares_positions)
    reads_likely                whether it scores steps better that come with their likely ids (reads_likely)
    prefix_ids(prefix)          the token ids it reads, which are counted (prompt_length)
    written(prefix, step)       what a reward wrote to judge a candidate: plain dicts, each with its number of "tokens",
                                for the records of candidates and the usage (written_of)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol, cast, runtime_checkable

from gsi_node.cancel import run_cancellable
from gsi_node.ends import StepEnds
from gsi_node.errors import BackendError, LawMismatch, RewardOutOfRange, shown
from gsi_node.types import Array, Key, Plain, Prefix, SamplingLaw, Score, Step, Thinking


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
    def eos_ids(self) -> tuple[int, ...]:
        """Sorted ids that end a response, and with it a step."""
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

    def step_of(self, prefix: Prefix, token_ids: Sequence[int], log_prob: float) -> Step:
        """The step of these token ids behind a prefix: its text, and whether it ends with EOS."""
        ...


@runtime_checkable
class TokenModel(DecodingModel, Protocol):
    """A step model that also gives whole next-token laws, as token-level speculative decoding needs them."""

    def step_ends(self, law: SamplingLaw) -> StepEnds:
        """Where steps end under `law`, over the model's token ids."""
        ...

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


Question = Literal["sample", "score", "next_log_probs", "encode", "__call__"]
Role = str  # "draft", "base", "reward"; of several drafts "draft/0", "draft/1" …


def ask(backend: object, method: Question, *args: Any) -> Any:
    """backend.method(*args): as a list Steps, Scores (of plain numbers too), or rewards as floats within their range.
    Raises BackendError for what has another shape (a coroutine, one number for several candidates), RewardOutOfRange.
    """
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
    if method == "__call__":
        return checked_rewards(cast("Reward", backend), args[0], args[1], answer)
    if method in ("next_log_probs", "encode"):
        return answer
    try:
        return [_STEP_OR_SCORE[method](item) for item in answer]
    except (TypeError, ValueError):
        raise BackendError(
            f"{name_of(backend)}: {method} returned {shown(answer)}, a {type(answer).__name__}: want a list of one "
            f"{'Step' if method == 'sample' else 'Score'} a candidate"
        ) from None


def _step(item: Any) -> Step:
    if not isinstance(item, Step):
        raise TypeError
    return item


_STEP_OR_SCORE: dict[Question, Callable[[Any], Step | Score]] = {
    "sample": _step,
    "score": lambda item: item if isinstance(item, Score) else Score(float(item)),
}


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


def name_of(model: object) -> str:
    """What a model or reward is called in messages; its type's name where it has none."""
    return str(getattr(model, "name", type(model).__name__))


def findings_of(model: object) -> tuple[str, ...]:
    """What the doctor prints of it."""
    return tuple(getattr(model, "findings", ()))


def thinking_of(model: object) -> Thinking | None:
    """How a model thinks before it answers; None for one that does not."""
    found: Thinking | None = getattr(model, "thinking", None)
    return found


def written_of(reward: object, prefix: Prefix, step: Step) -> list[Plain]:
    """What a reward wrote before it judged a candidate; nothing of one that only reads."""
    written = getattr(reward, "written", None)
    return [] if written is None else written(prefix, step)


def continues(model: object) -> bool:
    """Whether a model goes on from steps; else it answers whole, from the beginning."""
    return bool(getattr(model, "continues", True))


def check_ratio(model: object, law: SamplingLaw) -> None:
    """LawMismatch where a model says that it cannot take part in π_B/π_S under `law`."""
    if (check := getattr(model, "check_ratio", None)) is not None:
        check(law)


def tells_scores(model: object, law: SamplingLaw) -> bool:
    """Whether a model tells log-probabilities of given steps under `law`."""
    try:
        check_ratio(model, law)
    except LawMismatch:
        return False
    return True


def date_of(model: object) -> str | None:
    """The day that its prompts tell; None where they tell none, or it does not say."""
    found: str | None = getattr(model, "prompt_date", None)
    return found


def dates_of(drafts: Sequence[object], base: object) -> list[str]:
    """What other_dates tells of each draft, once."""
    told = (None if base is None else other_dates(draft, base) for draft in drafts)
    return list(dict.fromkeys(line for line in told if line is not None))


def other_dates(draft: object, base: object) -> str | None:
    """What to tell of a draft and a base whose prompts tell different days; None where there is nothing to tell."""
    days = [date_of(model) for model in (draft, base)]
    if None in days or days[0] == days[1]:
        return None
    return (
        f"the chat templates of draft and base write different dates: {days[0]} in {name_of(draft)}, {days[1]} in "
        f"{name_of(base)}; give both the same ?date=YYYY-MM-DD, or load them on one day"
    )


def shares_positions(model: object) -> bool:
    """Whether candidates that one call samples are one row of the forward while their tokens are equal."""
    return bool(getattr(model, "shares_positions", False))


def reads_likely(model: object) -> bool:
    """Whether a model scores steps better that come with the ids that were likely at their tokens (Step.likely)."""
    return bool(getattr(model, "reads_likely", False))


def close(model: object) -> None:
    """Free what a model or reward holds, where it says how."""
    if (free := getattr(model, "close", None)) is not None:
        free()


def prompt_length(model: Any, prefix: Prefix) -> int:
    """Tokens of the rendered prompt, before the steps; of the plain problem where the backend does not say."""
    if hasattr(model, "prefix_ids"):
        return len(model.prefix_ids(replace(prefix, steps=())))
    return len(model.encode(prefix.problem)) if hasattr(model, "encode") else len(prefix.problem.split())
