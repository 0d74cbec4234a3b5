"""log π(token | context) = log-softmax(logits / T), restricted to the nucleus, and inverse-CDF draws from it.

Every function works on the last axis (V token ids) and keeps the leading ones. Log-probabilities are in nats, float32,
or float64 for a float64 model.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from math import fsum

import torch
from torch import Tensor

from gsi_node.errors import LawMismatch
from gsi_node.types import SamplingLaw


def check_law(law: SamplingLaw, vocabulary: int) -> None:
    """Refuse a law these functions cannot sample or score. vocabulary: number of token ids."""
    if not 0 < law.temperature < float("inf"):
        raise LawMismatch(f"temperature is {law.temperature}; a temperature above 0 is needed (0.01 is nearly greedy)")
    if not 0 < law.top_p <= 1:
        raise LawMismatch(f"top_p is {law.top_p}; it must be above 0 and at most 1 (1 switches the nucleus off)")
    if law.max_step_tokens < 1:
        raise LawMismatch(f"max_step_tokens is {law.max_step_tokens}; a step needs room for at least one token")
    foreign = [i for i in law.eos_ids or () if not 0 <= i < vocabulary]
    if foreign:
        raise LawMismatch(f"EOS ids {foreign[:5]} are outside of the model's {vocabulary} token ids")


def log_probs(logits: Tensor, law: SamplingLaw) -> Tensor:
    """Log-probabilities under `law`, shape as `logits`; −inf outside of the nucleus."""
    wide = logits if logits.dtype == torch.float64 else logits.float()
    result = torch.log_softmax(wide if law.temperature == 1 else wide / law.temperature, dim=-1)
    return result if law.top_p >= 1 else nucleus(result, law.top_p)


def nucleus(logp: Tensor, top_p: float) -> Tensor:
    """The smallest set of most likely tokens with mass ≥ top_p (ties: lower id first), renormalised; −inf elsewhere."""
    probabilities = logp.double().exp()
    ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered
    inside = torch.empty_like(order, dtype=torch.bool).scatter_(-1, order, before < top_p)
    kept = logp.masked_fill(~inside, float("-inf"))
    mass = torch.where(inside, probabilities, 0.0).sum(-1, keepdim=True)
    return (kept - mass.log().to(logp.dtype)).clamp_(max=0.0)


def inverse_cdf(logp: Tensor, uniforms: Tensor) -> Tensor:
    """The first token id whose cumulative probability passes u · total, so never one of probability zero.

    logp: (R, V) with R = B or 1; uniforms: (B,) float64 on [0, 1). Returns ids, shape (B,).
    """
    cumulative = logp.double().exp().cumsum(-1)
    total = cumulative[:, -1:]
    below = torch.nextafter(total, torch.zeros_like(total))
    target = torch.minimum(uniforms[:, None] * total, below)
    if cumulative.shape[0] != target.shape[0]:
        cumulative = cumulative.expand(target.shape[0], -1)
    chosen = torch.searchsorted(cumulative.contiguous(), target, right=True)
    return chosen[:, 0].clamp_(max=logp.shape[-1] - 1)  # only NaN can reach the clamp; the caller sees NaN in the sum


def target_log_probs(logits: Tensor, rows: Sequence[Sequence[int]], law: SamplingLaw) -> list[float]:
    """Σ_j log π(row_j | …) of each row in nats, −inf where a token lies outside of the law.

    logits: (B, L, V), position j predicting token j of the row; rows: B token-id lists of at most L.
    """
    lengths = [len(row) for row in rows]
    flat = torch.tensor([token for row in rows for token in row], device=logits.device)
    where = torch.tensor([(b, j) for b, length in enumerate(lengths) for j in range(length)], device=logits.device)
    logp = log_probs(logits[where[:, 0], where[:, 1]], law)
    picked = iter(logp.gather(-1, flat[:, None])[:, 0].tolist())
    return [fsum(islice(picked, length)) for length in lengths]
