"""What every StepModel must do, as checks of a `Subject`. Each raises ContractBroken."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from typing import Any, Literal

from gsi_node.bases import require_model
from gsi_node.errors import BackendError, ContractBroken
from gsi_node.protocols import DecodingModel, StepModel, TokenModel, ask
from gsi_node.types import Ends, Key, Prefix, SamplingLaw, Step

KEY = Key(7, "contract", 0, "draft")
LAW = SamplingLaw(max_step_tokens=24)
_ABOVE_ONE = 1e-3  # nats a step: what float32 rounding may put above log 1
_KEYS = 16
_SIGMAS = 5.0
_MARKUP = re.compile(r"<.*>|\[.*\]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Subject:
    """A backend under contract. make: a new one, with nothing cached. tolerance: nats a token, between two ways to the
    same number. law: one under which candidates differ. eos: the id that ends a response, where it is known. cuts:
    whether it obeys max_step_tokens and the step ends."""

    make: Callable[[], StepModel]
    tolerance: float = 1e-6
    law: SamplingLaw = LAW
    problem: str = "12 + 3 ="
    eos: int | None = None
    cuts: bool = True


def check_step_model(
    make: Callable[[], StepModel],
    *,
    tolerance: float = 1e-6,
    law: SamplingLaw = LAW,
    problem: str = "12 + 3 =",
    eos: int | None = None,
    cuts: bool = True,
) -> None:
    """Every check of CHECKS; the parameters are those of Subject. Raises ContractBroken, ConfigError."""
    subject = Subject(make, tolerance, law, problem, eos, cuts)
    for check in CHECKS:
        check(subject)


def require(holds: bool, what: str) -> None:
    """ContractBroken where it does not hold."""
    if not holds:
        raise ContractBroken(what)


def walk(model: StepModel, subject: Subject, length: int) -> list[Prefix]:
    """Prefixes of 0..length unfinished committed steps, sampled by the model itself."""
    prefixes = [Prefix(subject.problem)]
    for position in range(length):
        steps = model.sample(prefixes[-1], 8, Key(3, "walk", position, "draft"), subject.law)
        unfinished = [step for step in steps if not step.finished]
        if not unfinished:
            break
        prefixes.append(prefixes[-1].extended(max(unfinished, key=lambda step: len(step.token_ids))))
    return prefixes


def close(found: Sequence[float], wanted: Sequence[float], steps: Sequence[Step], tolerance: float) -> None:
    """ContractBroken unless log-probabilities agree within `tolerance` nats a token."""
    require(len(found) == len(wanted) == len(steps), f"{len(found)} numbers for {len(steps)} steps")
    for a, b, step in zip(found, wanted, steps, strict=True):
        require(math.isfinite(a), f"log-probability {a} of {step}")
        gap, most = abs(a - b), tolerance * len(step.token_ids)
        require(gap <= most, f"log-probabilities {a} and {b} of {step} are {gap:.3g} nats apart; at most {most:.3g}")


def scores(model: StepModel, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[float]:
    """The log-probabilities of `model.score`."""
    return [score.log_prob for score in _asked(model, "score", prefix, steps, law)]


def _asked(model: StepModel, method: Literal["sample", "score"], *args: object) -> Any:
    """As a run asks; ContractBroken for an answer of another shape."""
    try:
        return ask(model, method, *args)
    except BackendError as error:
        raise ContractBroken(str(error)) from error


def check_shape(subject: Subject) -> None:
    """The members are there, two equal models have one identity, and n candidates are n steps of token ids."""
    model, other = subject.make(), subject.make()
    require_model("the model", model, score=True)
    for member in ("vocabulary", "fingerprint", "eos_ids"):
        here, there = getattr(model, member), getattr(other, member)
        told = member != "fingerprint" or "+instance:" not in here  # the default of a model that nobody can tell
        require(here == there or not told, f"{member}: two models made alike have {here!r:.80} and {there!r:.80}")
    require(list(model.eos_ids) == sorted(set(model.eos_ids)), "eos_ids are not sorted, or one stands twice")
    model.supports(subject.law)
    steps = _asked(model, "sample", Prefix(subject.problem), 3, KEY, subject.law)
    require(len(steps) == 3, f"{len(steps)} steps where 3 were asked for")
    for step in steps:
        ids = step.token_ids
        require(len(ids) > 0 and all(type(i) is int for i in ids), f"token_ids of {step} are no integers")
        require(-math.inf < step.log_prob <= _ABOVE_ONE, f"{step} was drawn at log-probability {step.log_prob}")
    found = scores(model, Prefix(subject.problem), [], subject.law)
    require(len(found) == 0, f"{len(found)} scores of no steps")


def check_score_is_log_prob(subject: Subject) -> None:
    """score(prefix, sample(…)) equals the log_prob the sampler returned, on a warm and on a cold model."""
    sampler, scorer = subject.make(), subject.make()
    for prefix in walk(sampler, subject, 3):
        steps = sampler.sample(prefix, 8, KEY, subject.law)
        for model in (sampler, scorer):
            found = scores(model, prefix, steps, subject.law)
            close(found, [step.log_prob for step in steps], steps, subject.tolerance)


def check_batch_is_singles(subject: Subject) -> None:
    """A batch's scores equal those of its members alone, and a candidate is the same in a batch of any size."""
    model = subject.make()
    prefix = walk(model, subject, 1)[-1]
    steps = model.sample(prefix, 8, KEY, subject.law)
    alone = [scores(subject.make(), prefix, [step], subject.law)[0] for step in steps]
    close(scores(subject.make(), prefix, steps, subject.law), alone, steps, subject.tolerance)
    for n in (1, 3):
        _same_draws(subject.make().sample(prefix, n, KEY, subject.law), steps[:n], subject, f"{n} and 8 candidates")


def check_cached_is_cold(subject: Subject) -> None:
    """A prefix reached step by step, scored from, forked and rewound gives what a new model gives at once."""
    warm = subject.make()
    prefixes = walk(warm, subject, 3)
    fork = prefixes[0].extended(warm.sample(prefixes[0], 4, KEY.at("fork"), subject.law)[-1])
    for prefix in (*prefixes, *reversed(prefixes), fork):
        cold = subject.make()
        steps = warm.sample(prefix, 4, KEY, subject.law)
        _same_draws(steps, cold.sample(prefix, 4, KEY, subject.law), subject, "a model that has worked and a new one")
        found, again = (scores(model, prefix, steps, subject.law) for model in (warm, cold))
        close(found, again, steps, subject.tolerance)


def _same_draws(found: Sequence[Step], wanted: Sequence[Step], subject: Subject, who: str) -> None:
    for a, b in zip(found, wanted, strict=True):
        require(a.token_ids == b.token_ids, f"{who}: one key gives {a} and {b}")
    close([step.log_prob for step in found], [step.log_prob for step in wanted], found, subject.tolerance)


def check_keys(subject: Subject) -> None:
    """The same key gives the same steps; other keys and other candidate indices give other draws."""
    model, prefix = subject.make(), Prefix(subject.problem)
    steps = model.sample(prefix, 16, KEY, subject.law)
    again = model.sample(prefix, 16, KEY, subject.law)
    require(again == steps, "the same key gives other steps the second time: draw from Stream(key, candidate) alone")
    ids = [step.token_ids for step in steps]
    require(len(set(ids)) > 1, "16 candidates are all alike: candidate i draws from Stream(key, i), or the law is sure")
    others = (replace(KEY, seed=8), replace(KEY, problem_id="other"), replace(KEY, step=1), KEY.at("x"))
    for key in others:
        drawn = [step.token_ids for step in model.sample(prefix, 16, key, subject.law)]
        require(drawn != ids, f"{key} gives the same 16 steps as {KEY}: seed, problem_id, step and phase all count")


def check_independent(subject: Subject) -> None:
    """E[1{y_i = y_j} − (π(y_i) + π(y_j))/2] = 0 for independent candidates i ≠ j: its mean over 16 keys, 12 candidates
    each, lies within 5 standard errors of 0, over all pairs and over those of neighbours.

    The standard error is the larger of that between keys and that of p = mean π over the pairs, √(p(1 − p)/pairs):
    where candidates are seldom alike, none may have been, and the keys then differ by too little.
    """
    model, prefix = subject.make(), Prefix(subject.problem)
    batches = [model.sample(prefix, 12, replace(KEY, seed=seed), subject.law) for seed in range(_KEYS)]
    for who, most in (("neighbouring", 1), ("two", 12)):
        pairs = [[(a, b) for (i, a), (j, b) in combinations(enumerate(y), 2) if j - i <= most] for y in batches]
        alike = [_mean([a.token_ids == b.token_ids for a, b in one]) for one in pairs]
        expected = [_mean([(math.exp(a.log_prob) + math.exp(b.log_prob)) / 2 for a, b in one]) for one in pairs]
        gaps = [found - wanted for found, wanted in zip(alike, expected, strict=True)]
        mean, p = _mean(gaps), min(1.0, _mean(expected))
        between = _mean([(gap - mean) ** 2 for gap in gaps]) / (_KEYS - 1)
        error = math.sqrt(max(between, p * (1 - p) / (_KEYS * len(pairs[0]))))
        require(
            abs(mean) <= _SIGMAS * error + 1e-6,
            f"{who} candidates of one key are alike {mean:+.3g} too often for independent ones (standard error "
            f"{error:.3g})",
        )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def check_step_ends(subject: Subject) -> None:
    """A step ends with the first token after which the text of its own tokens holds an end of the law, or with EOS, or
    it is cut at max_step_tokens; that token belongs to it, and EOS is no text. What goes on behind an end scores −inf.

    Where that is, is searched in the texts that `step_of` makes of its tokens; of a model without it, in whole steps.
    """
    model, ended, beyond = subject.make(), 0, []
    for position, prefix in enumerate(walk(model, subject, 2)):
        for step in model.sample(prefix, 16, Key(1, "ends", position, "draft"), subject.law):
            ids, last = step.token_ids, step.token_ids[-1]
            if subject.eos is not None:
                require(step.finished == (last == subject.eos), f"finished={step.finished}, but it ends with id {last}")
            require({*ids[:-1]}.isdisjoint(model.eos_ids), f"{step} goes on after EOS")
            length = _first_end(model, step, subject)
            if length is None:
                continue
            require(length >= len(ids), f"{step} goes on after a step end, its token {length}")
            full = subject.cuts and len(ids) == subject.law.max_step_tokens
            require(length == len(ids) or step.finished or full, f"{step} ends before its end, and is not cut")
            ended += step.finished or length == len(ids)
            if length == len(ids) and not step.finished:
                beyond.append(replace(step, token_ids=(*ids, ids[0])))
            require(not (step.finished and length == len(ids)), f"{step} ends the response with a step end")
    require(ended > 0 or not subject.law.ends.strings, "no step came to its end: give a law with more tokens a step")
    if isinstance(model, TokenModel) and beyond:
        worst = max(score.log_prob for score in model.score(Prefix(subject.problem), beyond, subject.law))
        require(worst == -math.inf, f"a step that goes on after its end scores {worst}, not -inf")


def _first_end(model: StepModel, step: Step, subject: Subject) -> int | None:
    """Tokens up to the first end in the text; more than there are where it holds none. None: nobody can tell."""
    ends, ids, never = subject.law.ends, step.token_ids, len(step.token_ids) + 1
    if not isinstance(model, DecodingModel):
        return len(ids) if _holds(step.text, ends) else never
    texts = [model.step_of(Prefix(subject.problem), ids[:count], 0.0).text for count in range(1, len(ids) + 1)]
    words = [text[len(before) :] for before, text in pairwise(("", *texts))]
    if any(_MARKUP.fullmatch(word) and (ends.after_text or _holds(word, ends)) for word in words):
        return None  # a control token, which is no text and behind which a step is blank again; or an ordinary word
    return next((count for count, text in enumerate(texts, 1) if _holds(text, ends)), never)


def _holds(text: str, ends: Ends) -> bool:
    """Whether an end stands in the text, by the rule of `Ends`."""
    stops = (at + len(end) for end in ends.strings for at in range(len(text)) if text.startswith(end, at))
    return any(not ends.after_text or text[:stop].strip(" \t\n\r\v\f") for stop in stops)


def check_cut(subject: Subject) -> None:
    """max_step_tokens = 1 and 2 cut there, and what was cut is scored as it was sampled."""
    if not subject.cuts:
        return
    model, prefix = subject.make(), Prefix("7")
    for limit in (1, 2):
        law = replace(subject.law, max_step_tokens=limit)
        steps = model.sample(prefix, 16, KEY, law)
        longest = max(len(step.token_ids) for step in steps)
        require(longest == limit, f"the longest of 16 steps has {longest} tokens where max_step_tokens is {limit}")
        close(scores(model, prefix, steps, law), [step.log_prob for step in steps], steps, subject.tolerance)


CHECKS: tuple[Callable[[Subject], None], ...] = (
    check_shape,
    check_score_is_log_prob,
    check_batch_is_singles,
    check_cached_is_cold,
    check_keys,
    check_independent,
    check_step_ends,
    check_cut,
)
