"""A method is a value of five slots: propose, weigh, choose, accept, fall back. Adding one is adding a row.

Sources: gsi arXiv 2506.04118; expgsi arXiv 2609.21899; rsd arXiv 2501.19324; sbon arXiv 2505.03156; specdec
arXiv 2211.17192; gsi-ic docs/math.md §5.
A fallback is itself a method, run by the same stages under π_B.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from gsi_node.core import accept as acceptance
from gsi_node.core.choose import Chooser, first_hit
from gsi_node.core.weights import Floats, log_weights
from gsi_node.types import Array


class Settings(Protocol):
    """The part of GSIConfig that the rules below read."""

    @property
    def beta(self) -> float: ...
    @property
    def threshold(self) -> float: ...
    @property
    def delta(self) -> float: ...
    @property
    def log_ratio_clip(self) -> float: ...
    @property
    def chunk_size(self) -> int: ...
    @property
    def max_log_ratio_error(self) -> float: ...
    @property
    def resolved_log_c(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Weighed:
    """What is known of a batch of n candidates; each array has shape (n,), or is None where it is not computed.

    rewards: r. log_ratios: ℓ in nats, log_ratio_errors: certified bounds on their errors (0 where exact).
    tilted_rewards: r̃ in units of the reward.
    log_weights: what `choose` reads, in nats (the plain rewards for best-of-n). ess: candidates; log_mean_weight: nats.
    """

    rewards: Array | None
    log_ratios: Array | None
    tilted_rewards: Array | None
    log_weights: Array | None
    ess: float | None
    log_mean_weight: float | None
    log_ratio_errors: Array | None = None


# weigh: (rewards, log_ratios, settings) -> log-weights, shape (n,)
Weigh = Callable[[Array | None, Array | None, Settings], Array]


def by_tilted_reward(rewards: Array | None, log_ratios: Array | None, settings: Settings) -> Array:
    """log w = β r + ℓ = β r̃."""
    assert rewards is not None and log_ratios is not None
    return log_weights(rewards, log_ratios, settings.beta)


def by_reward(rewards: Array | None, log_ratios: Array | None, settings: Settings) -> Array:
    """log w = β r."""
    assert rewards is not None
    return log_weights(rewards, None, settings.beta)


def by_plain_reward(rewards: Array | None, log_ratios: Array | None, settings: Settings) -> Array:
    """r itself, for best-of-n."""
    assert rewards is not None
    return rewards


# choose: (log-weights, chooser) -> index
Choose = Callable[[Floats, Chooser], int]


def softmax(log_w: Floats, chooser: Chooser) -> int:
    """i with probability w_i / Σ w_j."""
    return chooser.choose(log_w)


def argmax(log_w: Floats, chooser: Chooser) -> int:
    """The best candidate; the first of equals."""
    return int(np.argmax(log_w))


def exponential(log_w: Floats, chooser: Chooser) -> int:
    """argmax of log w_i + E_i, E_i ~ Exp(1) independent, of candidates in a random order (docs/math.md §6).

    A method with this rule judges its candidates chunk by chunk and stops at the first hit: `stages.scan`.
    """
    chosen = first_hit(np.asarray(log_w) - np.max(log_w), lambda i: chooser)
    assert chosen is not None
    return chosen


# accept: (batch, chosen index, settings) -> log acceptance probability in nats
Accept = Callable[[Weighed, int, Settings], float]


def tilted_reward_reaches_threshold(batch: Weighed, chosen: int, settings: Settings) -> float:
    """α = 1{r̃_{i*} ≥ u}, on the selected candidate."""
    assert batch.tilted_rewards is not None
    return acceptance.threshold_log_accept(float(batch.tilted_rewards[chosen]), settings.threshold)


def reward_reaches_delta(batch: Weighed, chosen: int, settings: Settings) -> float:
    """α = 1{r_{i*} ≥ δ}."""
    assert batch.rewards is not None
    return acceptance.threshold_log_accept(float(batch.rewards[chosen]), settings.delta)


def mean_weight_ratio(batch: Weighed, chosen: int, settings: Settings) -> float:
    """α = min(1, w̄ / c), on the whole batch."""
    assert batch.log_mean_weight is not None
    return acceptance.mean_weight_log_accept(batch.log_mean_weight, settings.resolved_log_c)


@dataclass(frozen=True, slots=True)
class Method:
    """propose: which model drafts ("specdec": the base, whose tokens the draft model proposes), and `single` where it
    always draws one candidate, whatever n says. weigh None: candidates are not weighed. accept None: always. fallback
    None: what is chosen is committed. clipped: the log-ratio enters r̃ as min(ℓ, settings.log_ratio_clip)."""

    name: str
    propose: Literal["draft", "base", "specdec"]
    weigh: Weigh | None = None
    choose: Choose = softmax
    accept: Accept | None = None
    fallback: Method | None = None
    single: bool = False
    clipped: bool = False

    @property
    def uses_ratio(self) -> bool:
        """Whether π_B scores the candidates of π_S."""
        return self.weigh is by_tilted_reward

    @property
    def scans(self) -> bool:
        """Whether candidates are judged in a random order, chunk by chunk, until one hits the envelope."""
        return self.choose is exponential

    @property
    def uses_reward(self) -> bool:
        """Whether the candidates' rewards are asked for."""
        return self.weigh is not None or self.accept is reward_reaches_delta

    @property
    def uses_weights(self) -> bool:
        """Whether the weights are importance weights, so that ess and log_mean_weight mean something."""
        return self.weigh is not None and self.choose is softmax

    @property
    def models(self) -> frozenset[str]:
        """The roles this method asks: of "draft", "base", "reward"."""
        own = {"draft", "base"} if self.propose == "specdec" else {self.propose}
        own |= ({"base"} if self.uses_ratio else set()) | ({"reward"} if self.uses_reward else set())
        return frozenset(own) | (self.fallback.models if self.fallback else frozenset())


_SBON_BASE = Method("sbon-base", "base", by_reward)
_BASE = Method("base", "base", single=True)
_ROWS = (
    Method("gsi", "draft", by_tilted_reward, softmax, tilted_reward_reaches_threshold, _SBON_BASE),
    Method("gsi-no-fallback", "draft", by_tilted_reward),
    Method("gsi-ic", "draft", by_tilted_reward, softmax, mean_weight_ratio, _SBON_BASE),
    Method("expgsi", "draft", by_tilted_reward, exponential, tilted_reward_reaches_threshold, _SBON_BASE, clipped=True),
    Method("rsd", "draft", None, softmax, reward_reaches_delta, _BASE, single=True),
    Method("rsd-n", "draft", by_reward, softmax, reward_reaches_delta, _SBON_BASE),
    Method("sbon-draft", "draft", by_reward),
    _SBON_BASE,
    Method("bon-draft", "draft", by_plain_reward, argmax),
    Method("bon-base", "base", by_plain_reward, argmax),
    Method("draft", "draft", single=True),
    _BASE,
    Method("specdec-sbon", "specdec", by_reward),
    Method("specdec", "specdec", single=True),
)
METHODS: dict[str, Method] = {method.name: method for method in _ROWS}
