"""log π_T(y) = log p(y)/T − log Z_T, Z_T = Σ_v p(v)^{1/T}, from the k most likely tokens: within a certified bound.

Servers report log p at temperature 1, and only for a few tokens. For T ≤ 1 the unlisted tokens cannot add much to Z_T:
docs/servers.md has the derivation. Certified up to the rounding of the server's own float32 numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, fsum, inf, isfinite, log, log1p

from gsi_node.errors import InvalidLogProb, LawMismatch
from gsi_node.types import Score

ROUNDING = 1e-5
"""What float32 log-probabilities may take from the mass of the listed tokens."""
_ALL = 1e-3  # a list shorter than k is the whole vocabulary only if no more mass than this is missing


@dataclass(frozen=True, slots=True)
class TopK:
    """A token id with the log-probabilities, in nats at temperature 1, that a server lists at its position.

    listed: the k most likely ids, and `id` itself where it is none of them.
    """

    id: int
    listed: Mapping[int, float]

    @property
    def likely(self) -> tuple[int, ...]:
        """The listed ids, the most likely first."""
        return tuple(sorted(self.listed, key=lambda i: (-self.listed[i], i)))


def check_temperature(temperature: float) -> None:
    """LawMismatch unless 0 < T ≤ 1: above 1 the unlisted tokens gain mass, and the bound does not hold."""
    if not 0.0 < temperature <= 1.0:
        raise LawMismatch(
            f"temperature is {temperature}; a server's top-k log-probabilities determine the sampling law for "
            "0 < temperature ≤ 1 only: lower it, or run the model in process (hf:…) or behind `gsi serve` "
            "(remote:…)"
        )


def tempered(token: TopK, k: int | None, temperature: float) -> Score:
    """log π_T = a·log p − ½(log S + log(S + U)) ± ½ log(1 + U/S), a = 1/T.

    S = Σ_listed p^a ≤ Z_T ≤ S + U, U = m·min(p_k, m)^{a−1}: m is the mass not listed, p_k the k-th largest probability
    by rank (the token itself, listed beyond rank k, is in S and out of m, but never is p_k). k is None where the listed
    are whatever ids were asked for: then U = m^a. Raises LawMismatch for T > 1, InvalidLogProb where the list is no
    list of the k most likely tokens.
    """
    check_temperature(temperature)
    own = token.listed[token.id]
    if temperature == 1.0 or own == -inf:
        return Score(own)
    finite = [value for value in token.listed.values() if value > -inf]
    mass = fsum(map(exp, finite))
    if not isfinite(mass) or mass > 1.0 + _ALL:
        raise InvalidLogProb(f"the listed tokens' probabilities sum to {mass}, more than 1")
    missing = max(0.0, 1.0 - mass)
    last = inf if k is None else _last(token, k, missing)
    a = 1.0 / temperature
    top = a * max(finite)
    log_sum = top + log(fsum(exp(a * value - top) for value in finite))
    missing += ROUNDING
    log_rest = log(missing) + (a - 1.0) * min(last, log(missing))
    half = 0.5 * log1p(exp(log_rest - log_sum))
    return Score(a * own - log_sum - half, half)


def _last(token: TopK, k: int, missing: float) -> float:
    """log p_k, the least likely of the k most likely. missing: the mass not listed."""
    if len(token.listed) > k + 1 or (len(token.listed) < k and missing > _ALL):
        raise InvalidLogProb(f"{len(token.listed)} tokens are listed where the {k} most likely were asked for")
    if len(token.listed) <= k:
        return min(value for value in token.listed.values() if value > -inf)
    last, own = min(value for i, value in token.listed.items() if i != token.id), token.listed[token.id]
    if own > last + ROUNDING:
        raise InvalidLogProb(f"a token at {own} nats stands beyond rank {k}, where the probability is {last} nats")
    return last


def tempered_sum(tokens: Sequence[TopK], k: int | None, temperature: float) -> Score:
    """log π_T of a whole step: the sums of its tokens' values and of their bounds, in nats."""
    scores = [tempered(token, k, temperature) for token in tokens]
    return Score(
        fsum(s.log_prob for s in scores) if all(s.log_prob > -inf for s in scores) else -inf,
        fsum(s.error for s in scores),
    )
