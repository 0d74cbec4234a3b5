"""The rules a method is made of, as records: what each computes, and all that anything else asks about it.

Sources: gsi arXiv 2506.04118; expgsi arXiv 2609.21899; rsd arXiv 2501.19324; sbon arXiv 2505.03156; cgs and lgs arXiv
2606.01682 (its abstract); gsi-ic docs/math.md §5. A rule reads the batch and the settings; it calls no model and draws
nothing but through its chooser.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from gsi_node.core import accept as acceptance
from gsi_node.core.choose import Chooser, first_hit
from gsi_node.core.weights import Floats, log_weights
from gsi_node.step.fields import Settings
from gsi_node.types import Array

Need = Literal["reward", "ratio", "score", "weights"]


@dataclass(frozen=True, slots=True)
class CandidateBatch:
    """What is known of a batch of n candidates; each array has shape (n,), or is None where it is not computed.

    tokens: of each candidate. rewards: r. scores: log π_B in nats. log_ratios: ℓ in nats, log_ratio_errors: certified
    bounds on their errors (0 where exact). tilted_rewards: r̃ in units of the reward. log_weights: what `choose` reads,
    in nats (the plain rewards for best-of-n). ess: candidates; log_mean_weight: nats.
    """

    tokens: Array | None = None
    rewards: Array | None = None
    scores: Array | None = None
    log_ratios: Array | None = None
    log_ratio_errors: Array | None = None
    tilted_rewards: Array | None = None
    log_weights: Array | None = None
    ess: float | None = None
    log_mean_weight: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What every rule says: how tables write it; what must be known of the candidates (the reward; "score" log π_B,
    "ratio" ℓ, both of which the base gives; the importance weights of the whole batch); the settings it reads; a
    sentence for the foot of the table."""

    shown: str
    needs: frozenset[Need] = frozenset()
    reads: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weigh(Rule):
    """compute: (batch, settings) -> log-weights, shape (n,). importance: they are importance weights, so that ess and
    log_mean_weight mean something. clips: ℓ enters as min(ℓ, settings.log_ratio_clip). bound: (greatest reward,
    settings) -> what no log-weight exceeds, in nats; None where there is none, and then nothing can scan."""

    compute: Callable[[CandidateBatch, Settings], Array]
    importance: bool = True
    clips: bool = False
    bound: Callable[[float, Settings], float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choose(Rule):
    """compute: (log-weights, chooser) -> index. shown has {} where the weight stands. scans: candidates are judged in a
    random order, chunk by chunk, until one hits the bound of the weights (judging.py)."""

    compute: Callable[[Floats, Chooser], int]
    scans: bool = False


@dataclass(frozen=True, slots=True)
class Knob:
    """What moves how often a rule refuses: a field of the settings, and the number of a step record it is held against.

    now: the field's value under given settings. calibrate: (tested numbers, share) -> the value that refuses a share.
    """

    field: str
    tested: str
    now: Callable[[Settings], float]
    calibrate: Callable[[Floats, float], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accept(Rule):
    """compute: (batch, chosen index, settings) -> log acceptance probability in nats. refusal: (step record, settings)
    -> why its candidate was refused, in a line; told: the number of the record that the line gives ("r̃"). knob: None
    where no setting moves it."""

    compute: Callable[[CandidateBatch, int, Settings], float]
    refusal: Callable[[Mapping[str, Any], Settings], str]
    told: str = ""
    knob: Knob | None = None


def _tilted_weights(batch: CandidateBatch, settings: Settings) -> Array:
    """log w = β r + ℓ = β r̃."""
    assert batch.rewards is not None and batch.log_ratios is not None
    return log_weights(batch.rewards, batch.log_ratios, settings.beta)


def _clipped_weights(batch: CandidateBatch, settings: Settings) -> Array:
    """log w = β r + min(ℓ, L) = β r̃, L = log_ratio_clip."""
    assert batch.rewards is not None and batch.log_ratios is not None
    return log_weights(batch.rewards, np.minimum(batch.log_ratios, settings.log_ratio_clip), settings.beta)


def _reward_weights(batch: CandidateBatch, settings: Settings) -> Array:
    """log w = β r."""
    assert batch.rewards is not None
    return log_weights(batch.rewards, None, settings.beta)


def _plain_rewards(batch: CandidateBatch, settings: Settings) -> Array:
    """r itself, for best-of-n."""
    assert batch.rewards is not None
    return batch.rewards


def _log_ratios(batch: CandidateBatch, settings: Settings) -> Array:
    """ℓ itself, for cgs."""
    assert batch.log_ratios is not None
    return batch.log_ratios


def _scores_a_token(batch: CandidateBatch, settings: Settings) -> Array:
    """log π_B(y) / tokens of y, for lgs: nats a token."""
    assert batch.scores is not None and batch.tokens is not None
    return batch.scores / batch.tokens


TILTED_REWARD = Weigh(compute=_tilted_weights, shown="β·r̃", needs=frozenset(("reward", "ratio")), reads=("beta",))
CLIPPED_TILTED_REWARD = Weigh(
    compute=_clipped_weights,
    shown="β·r̃",
    needs=frozenset(("reward", "ratio")),
    reads=("beta", "log_ratio_clip"),
    clips=True,
    bound=lambda most, settings: settings.beta * most + settings.log_ratio_clip,
    note="ℓ is clipped at --set log_ratio_clip=… nats",
)
REWARD = Weigh(
    compute=_reward_weights,
    shown="β·r",
    needs=frozenset(("reward",)),
    reads=("beta",),
    bound=lambda most, settings: settings.beta * most,
)
PLAIN_REWARD = Weigh(
    compute=_plain_rewards,
    shown="r",
    needs=frozenset(("reward",)),
    importance=False,
    bound=lambda most, settings: most,
)
LOG_RATIO = Weigh(compute=_log_ratios, shown="ℓ", needs=frozenset(("ratio",)), importance=False)
SCORE_A_TOKEN = Weigh(
    compute=_scores_a_token, shown="log π_base a token", needs=frozenset(("score",)), importance=False
)


def _softmax(log_w: Floats, chooser: Chooser) -> int:
    """i with probability w_i / Σ w_j."""
    return chooser.choose(log_w)


def _argmax(log_w: Floats, chooser: Chooser) -> int:
    """The best candidate; the first of equals."""
    return int(np.argmax(log_w))


def _exponential(log_w: Floats, chooser: Chooser) -> int:
    """argmax of log w_i + E_i, E_i ~ Exp(1) independent, of candidates in a random order (docs/math.md §6)."""
    chosen = first_hit(np.asarray(log_w) - np.max(log_w), lambda i: chooser)
    assert chosen is not None
    return chosen


SOFTMAX = Choose(compute=_softmax, shown="softmax of {}")
ARGMAX = Choose(compute=_argmax, shown="greatest {}")
EXPONENTIAL = Choose(
    compute=_exponential,
    shown="{} + Exp(1), first hit",
    reads=("chunk_size",),
    scans=True,
    note="judged --set chunk_size=… at a time",
)


def _tilted_reward_reaches_threshold(batch: CandidateBatch, chosen: int, settings: Settings) -> float:
    """α = 1{r̃_{i*} ≥ u}, on the selected candidate."""
    assert batch.tilted_rewards is not None
    return acceptance.threshold_log_accept(float(batch.tilted_rewards[chosen]), settings.threshold)


def _reward_reaches_delta(batch: CandidateBatch, chosen: int, settings: Settings) -> float:
    """α = 1{r_{i*} ≥ δ}."""
    assert batch.rewards is not None
    return acceptance.threshold_log_accept(float(batch.rewards[chosen]), settings.delta)


def _mean_weight_ratio(batch: CandidateBatch, chosen: int, settings: Settings) -> float:
    """α = min(1, w̄ / c), on the whole batch."""
    assert batch.log_mean_weight is not None
    return acceptance.mean_weight_log_accept(batch.log_mean_weight, settings.resolved_log_c)


TILTED_REWARD_REACHES_U = Accept(
    compute=_tilted_reward_reaches_threshold,
    shown="r̃ ≥ u",
    needs=frozenset(("reward", "ratio")),
    reads=("threshold",),
    refusal=lambda record, settings: f"r̃ {record['tilted_reward']:.3f} < u {settings.threshold:g}",
    told="r̃",
    knob=Knob("threshold", "tilted_reward", lambda settings: settings.threshold, acceptance.calibrate_threshold),
)
REWARD_REACHES_DELTA = Accept(
    compute=_reward_reaches_delta,
    shown="r ≥ δ",
    needs=frozenset(("reward",)),
    reads=("delta",),
    refusal=lambda record, settings: f"r {record['reward']:.3f} < δ {settings.delta:g}",
    told="r",
    knob=Knob("delta", "reward", lambda settings: settings.delta, acceptance.calibrate_threshold),
)
MEAN_WEIGHT = Accept(
    compute=_mean_weight_ratio,
    shown="with prob. w̄/c",
    needs=frozenset(("weights",)),
    reads=("log_c", "beta", "threshold"),
    refusal=lambda record, settings: f"log w̄ {record['log_mean_weight']:.2f}, log c {settings.resolved_log_c:.2f}",
    knob=Knob("log_c", "log_mean_weight", lambda settings: settings.resolved_log_c, acceptance.calibrate_log_c),
)
