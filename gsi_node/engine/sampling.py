"""π(· | context) = softmax(logits / T), restricted to the nucleus: log-probabilities, and inverse-CDF draws from it.

    e_k = exp((z_k − max z)/T),   S = Σ_k e_k,   log π_k = (z_k − max z)/T − log S

The e_k are float32 (float64 for a float64 model), summed in blocks of BLOCK ids, and the blocks in float64. What is
drawn and what is scored have the same log S, and a row's numbers are the same bit for bit whatever rows are with it.
Log-probabilities are in nats, float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from math import fsum
from typing import NamedTuple

import torch
from torch import Tensor

from gsi_node.errors import LawMismatch
from gsi_node.types import SamplingLaw

BLOCK = 512
FEW = 4 * BLOCK
"""Of so many ids one block is made."""
CACHED = {"cpu": 4 << 20, "cuda": 256 << 20}
"""Bytes of weights that are made together where each row is read once, by device: what a cache holds, or what keeps it
busy. On a CPU 640 rows of 152,000 ids take 3.5 times as long in one piece."""
BELOW_ONE = 1 - 2**-52
"""Times any total it is rounded to less than the total."""


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


class Memory:
    """Where weights are written, the same place time and again: fresh memory of this size costs more than the draw."""

    def __init__(self) -> None:
        self._flat = torch.empty(0)

    def take(self, like: Tensor, rows: int, width: int) -> Tensor:
        """Shape (rows, width), of the device and (float32 at least) the type of `like`; what it holds is arbitrary."""
        size, dtype = rows * width, torch.promote_types(like.dtype, torch.float32)
        if self._flat.numel() < size or self._flat.dtype != dtype or self._flat.device != like.device:
            self._flat = torch.empty(size, dtype=dtype, device=like.device)
        return self._flat[:size].view(rows, width)


class Softmax(NamedTuple):
    """π of R contexts. logits: z, (R, V), −inf outside of the nucleus. peaks: max z, (R, 1). weights: e, in K blocks of
    W ids, (R, K, W). sums: of the blocks up to and with each, (R, K), float64; the last is S."""

    temperature: float
    logits: Tensor
    peaks: Tensor
    weights: Tensor
    sums: Tensor

    @classmethod
    def of(cls, logits: Tensor, law: SamplingLaw, memory: Memory | None = None) -> Softmax:
        """That of `logits`, (R, V), under `law`. memory: overwritten; the result is good until it is used again."""
        kept = logits if law.top_p >= 1 else nucleus(logits, law)
        (rows, ids), block = kept.shape, BLOCK if kept.shape[1] > FEW else kept.shape[1]
        blocks = -(-ids // block)
        weights = (memory or Memory()).take(kept, rows, blocks * block)
        peaks = kept.amax(-1, keepdim=True)
        weights[:, :ids].copy_(kept)
        if ids < blocks * block:
            weights[:, ids:] = -torch.inf
        weights.sub_(peaks)
        if law.temperature != 1:
            weights.div_(law.temperature)
        by_block = weights.exp_().view(rows, blocks, block)
        sums = by_block.sum(-1).double()
        return cls(law.temperature, kept, peaks, by_block, sums if blocks == 1 else sums.cumsum(-1))

    def log_probs(self) -> Tensor:
        """log π of every id, (R, V)."""
        return (self.logits.double() - self.peaks.double()) / self.temperature - self.sums[:, -1:].log()

    def at(self, rows: Tensor, ids: Tensor) -> Tensor:
        """log π of one id each of some rows, shape (U,) all three."""
        above = self.logits[rows, ids].double() - self.peaks[rows, 0].double()
        return above / self.temperature - self.sums[rows, -1].log()

    def draw(self, rows: Tensor, uniforms: Tensor) -> Tensor:
        """The first id of a row whose cumulative probability passes u, so never one of weight zero: its block by the
        sums, then the id inside by a sum in float64.

        rows: (U,), a row may be drawn from several times. uniforms: (U,), float64 on [0, 1). Returns ids, (U,).
        """
        shares, (_, blocks, width) = uniforms[:, None], self.weights.shape
        if blocks == 1:
            return _passed(self.weights[:, 0].double().cumsum(-1).index_select(0, rows), shares)[:, 0]
        sums = self.sums.index_select(0, rows)
        block = _passed(sums, shares)
        ends = torch.nn.functional.pad(sums, (1, 0))
        before, after = ends.gather(-1, block), ends.gather(-1, block + 1)
        rest = (shares * sums[:, -1:] - before) / (after - before)
        inside = self.weights.view(-1, width).index_select(0, rows * blocks + block[:, 0]).double().cumsum(-1)
        return (block * width + _passed(inside, rest))[:, 0].clamp_(max=self.logits.shape[1] - 1)


def _passed(cumulative: Tensor, shares: Tensor) -> Tensor:
    """The first index whose running sum passes share · total. cumulative: (R, K). shares, and the result: (R, 1)."""
    target = shares.clamp(max=BELOW_ONE) * cumulative[:, -1:]
    chosen = torch.searchsorted(cumulative, target, right=True)
    return chosen.clamp_(max=cumulative.shape[-1] - 1)  # only NaN reaches the clamps; the caller sees NaN in log π


def nucleus(logits: Tensor, law: SamplingLaw) -> Tensor:
    """`logits`, −inf outside of the smallest set of most likely ids with mass ≥ top_p (ties: lower id first)."""
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    probabilities = torch.log_softmax(wide / law.temperature, dim=-1).double().exp()
    ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered
    inside = torch.empty_like(order, dtype=torch.bool).scatter_(-1, order, before < law.top_p)
    return wide.masked_fill(~inside, -torch.inf)


def target_log_probs(logits: Tensor, rows: Sequence[Sequence[int]], law: SamplingLaw) -> list[float]:
    """Σ_j log π(row_j | …) of each row in nats, −inf where a token lies outside of the law.

    logits: (B, L, V), position j predicting token j of the row; rows: B token-id lists of at most L.
    """
    lengths = [len(row) for row in rows]
    flat = torch.tensor([token for row in rows for token in row], device=logits.device)
    where = torch.tensor([(b, j) for b, length in enumerate(lengths) for j in range(length)], device=logits.device)
    some = max(1, CACHED.get(logits.device.type, CACHED["cuda"]) // (4 * logits.shape[-1]))
    memory, found = Memory(), []
    for at, ids in zip(where.split(some), flat.split(some), strict=True):
        softmax = Softmax.of(logits[at[:, 0], at[:, 1]], law, memory)
        found.append(softmax.at(torch.arange(len(ids), device=ids.device), ids))
    picked = iter(torch.cat(found).tolist())
    return [fsum(islice(picked, length)) for length in lengths]
