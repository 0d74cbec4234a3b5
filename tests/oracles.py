"""Closed forms of the exact step laws, written from docs/math.md with sums over multisets. Imports nothing of ours.

A space is a list of texts; p (draft), b (base), r (reward) are dicts. A law is a dict text -> probability.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import combinations_with_replacement, product
from typing import Any

import numpy as np

Law = dict[str, float]


def multisets(p: Law, n: int) -> Iterator[tuple[Counter[str], float]]:
    """Every multiset of n independent draws from p with its probability."""
    for batch in combinations_with_replacement(sorted(t for t in p if p[t] > 0), n):
        counts = Counter(batch)
        ways = math.factorial(n)
        for count in counts.values():
            ways //= math.factorial(count)
        yield counts, ways * math.prod(p[text] ** count for text, count in counts.items())


def softmax_choice(p: Law, w: Law, n: int, alpha: Callable[[float, str], float] = lambda mean, text: 1.0) -> Law:
    """Accepted mass of each text: Σ over multisets of P(multiset) · count·w/Σw · α(w̄, chosen); none where Σw = 0."""
    law = dict.fromkeys(p, 0.0)
    for counts, probability in multisets(p, n):
        total = sum(count * w[text] for text, count in counts.items())
        if total > 0:
            for text, count in counts.items():
                law[text] += probability * count * w[text] / total * alpha(total / n, text)
    return law


def noisy_max_choice(log_w: list[float]) -> list[float]:
    """P(i = argmax a_j + E_j), E_j ~ Exp(1), by quadrature of the definition, Σ_i = 1 where some a_j > −inf.

    i wins at t with density e^{−(t − a_i)} Π_{j≠i} (1 − e^{−(t − a_j)}), t ≥ m = max a. With z = e^{m − t} and ρ_j =
    e^{a_j − m} that is ρ_i ∫_0^1 Π_{j≠i} (1 − ρ_j z) dz: a polynomial, for which Gauss–Legendre is exact.
    """
    m = max(log_w)
    if m == -math.inf:
        return [0.0] * len(log_w)
    rho = [math.exp(a - m) for a in log_w]
    nodes, weights = np.polynomial.legendre.leggauss(len(log_w) // 2 + 1)
    z = [(x + 1) / 2 for x in nodes]
    return [
        rho[i]
        * math.fsum(
            weight / 2 * math.prod(1 - rho[j] * at for j in range(len(rho)) if j != i)
            for at, weight in zip(z, weights, strict=True)
        )
        for i in range(len(rho))
    ]


def noisy_choice(p: Law, log_w: Law, n: int, alpha: Callable[[str], float]) -> Law:
    """softmax_choice's twin for exponential noise: accepted mass of each text."""
    law = dict.fromkeys(p, 0.0)
    for counts, probability in multisets(p, n):
        batch = list(counts.elements())
        for text, wins in zip(batch, noisy_max_choice([log_w[t] for t in batch]), strict=True):
            law[text] += probability * wins * alpha(text)
    return law


def batches_of(ps: list[Law], counts: list[int]) -> Iterator[tuple[Counter[str], float]]:
    """Every multiset of a batch that has counts[j] independent draws from ps[j], with its probability; some twice."""
    for parts in product(*(list(multisets(p, n)) for p, n in zip(ps, counts, strict=True))):
        yield sum((counted for counted, _ in parts), Counter()), math.prod(probability for _, probability in parts)


def mixed(ps: list[Law], counts: list[int]) -> Law:
    """m = Σ_j α_j π_j, α_j = n_j / n."""
    return {t: sum(n * p[t] for n, p in zip(counts, ps, strict=True)) / sum(counts) for t in ps[0]}


def several_law(method: str, ps: list[Law], counts: list[int], b: Law, r: Law, **numbers: Any) -> Law:
    """The law of the committed step: what is accepted, and the fallback's soft best-of-n under b. expgsi's candidates
    are each from m itself, their labels being drawn for themselves."""
    if method == "expgsi":
        return step_law(method, mixed(ps, counts), b, r, n=sum(counts), **numbers)
    accepted = several_accepted(method, ps, counts, b, r, **numbers)
    soft_base = softmax_choice(b, {t: math.exp(numbers["beta"] * r[t]) for t in b}, numbers["m"])
    return replaced(accepted, soft_base) if method in ("gsi", "gsi-ic") else accepted


def several_accepted(method: str, ps: list[Law], counts: list[int], b: Law, r: Law, **numbers: Any) -> Law:
    """Accepted mass of each text, with counts[j] of the n candidates from draft ps[j], each weighed against their
    mixture m."""
    beta, m, n = numbers["beta"], mixed(ps, counts), sum(counts)
    w = {t: math.exp(beta * r[t]) * b[t] / m[t] for t in m}
    accepted = dict.fromkeys(m, 0.0)
    for batch, probability in batches_of(ps, counts):
        total = sum(count * w[text] for text, count in batch.items())
        best = max(batch, key=lambda t: b[t] / m[t])
        for text, count in batch.items():
            tilted = r[text] + math.log(b[text] / m[text]) / beta if b[text] > 0 else -math.inf
            alpha = {
                "gsi": float(tilted >= numbers["u"]),
                "gsi-ic": min(1.0, total / n / math.exp(numbers["log_c"])),
                "gsi-no-fallback": 1.0,
                "cgs": 1.0,
            }[method]
            chosen = float(text == best) if method == "cgs" else count * w[text] / total if total else 0.0
            accepted[text] += probability * chosen * alpha
    return accepted


def argmax_choice(p: Law, r: Law, n: int) -> Law:
    """P(max r_i = r(y)) · p(y) / p(all steps of that reward)."""
    law = {}
    for text in p:
        level = sum(p[t] for t in p if r[t] == r[text])
        below = sum(p[t] for t in p if r[t] < r[text])
        law[text] = ((below + level) ** n - below**n) * (p[text] / level if level else 0.0)
    return law


def replaced(accepted: Law, q: Law) -> Law:
    rho = 1.0 - sum(accepted.values())
    return {text: accepted[text] + rho * q[text] for text in accepted}


def step_law(
    method: str,
    p: Law,
    b: Law,
    r: Law,
    *,
    n: int,
    m: int,
    beta: float,
    u: float,
    delta: float,
    log_c: float,
    clip: float = 0.5,
    tokens: Callable[[str], int] = lambda text: len(text) + 1,
) -> Law:
    """The law of the committed step; m is the fallback's number of candidates, clip expgsi's bound on ℓ in nats, tokens
    a text's (the default: its characters and EOS)."""
    plain = {t: math.exp(beta * r[t]) for t in p}
    tilted = {t: math.exp(beta * r[t]) * b[t] / p[t] if p[t] > 0 else math.nan for t in p}

    def log_ratio(t: str) -> float:
        return math.log(b[t]) - math.log(p[t]) if b[t] > 0 else -math.inf

    def tilted_reward(t: str, most: float = math.inf) -> float:
        return r[t] + min(log_ratio(t), most) / beta

    soft_base = softmax_choice(b, plain, m)
    if method == "gsi":
        return replaced(softmax_choice(p, tilted, n, lambda mean, t: float(tilted_reward(t) >= u)), soft_base)
    if method == "expgsi":
        noisy = {t: beta * r[t] + min(log_ratio(t), clip) for t in p}
        return replaced(noisy_choice(p, noisy, n, lambda t: float(tilted_reward(t, clip) >= u)), soft_base)
    if method == "gsi-no-fallback":
        return softmax_choice(p, tilted, n)
    if method == "gsi-ic":
        return replaced(softmax_choice(p, tilted, n, lambda mean, t: min(1.0, mean / math.exp(log_c))), soft_base)
    if method == "rsd":
        return replaced({t: p[t] * (r[t] >= delta) for t in p}, b)
    if method == "rsd-n":
        return replaced(softmax_choice(p, plain, n, lambda mean, t: float(r[t] >= delta)), soft_base)
    if method == "cgs":
        return argmax_choice(p, {t: log_ratio(t) if p[t] > 0 else 0.0 for t in p}, n)
    if method == "lgs":
        return argmax_choice(p, {t: math.log(b[t]) / tokens(t) if b[t] > 0 else -math.inf for t in p}, n)
    return {
        "sbon-draft": lambda: softmax_choice(p, plain, n),
        "sbon-base": lambda: softmax_choice(b, plain, n),
        "bon-draft": lambda: argmax_choice(p, r, n),
        "bon-base": lambda: argmax_choice(b, r, n),
        "draft": lambda: dict(p),
        "base": lambda: dict(b),
        "specdec-sbon": lambda: softmax_choice(b, plain, n),
        "specdec": lambda: dict(b),
    }[method]()


def step_target(b: Law, r: Law, beta: float) -> Law:
    """π_{β,B} ∝ π_B exp(β r)."""
    unnormalised = {t: b[t] * math.exp(beta * r[t]) for t in b}
    z = sum(unnormalised.values())
    return {t: v / z for t, v in unnormalised.items()}


def kl(t: Law, q: Law) -> float:
    return sum(t[y] * math.log(t[y] / q[y]) for y in t if t[y] > 0)


def chi2(t: Law, p: Law) -> float:
    return sum(t[y] ** 2 / p[y] for y in t if t[y] > 0) - 1.0
