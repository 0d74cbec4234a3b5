"""What the machine allows a forward: the bytes that a copy moves, and the operations that a product of matrices does.

    draw n rows of T tokens behind P     max( (T·(W + k·P) + k·n·T(T+1)/2) / b,   2·N·n·T / f )   seconds
    read n rows of T tokens behind P     max( (W + k·(P + n·T)) / b,              2·N·n·T / f )

N: parameters that a token meets (a table of embeddings that is no output head is looked up, not read), W: their bytes,
k: bytes of a token's keys and values, b: bytes a second, f: operations a second, of the weights' type. Left out: the
products within attention, and all that is neither weights, keys nor values. A bound for each token by itself: rows that
share tokens may be faster.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import torch

TRIES = 5
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class MachineSpeed:
    """bytes: a second, read and written together. operations: a second."""

    bytes: float
    operations: float


@dataclass(frozen=True, slots=True)
class TokenBounds:
    """Tokens a second that memory, and that arithmetic allows."""

    memory: float
    arithmetic: float


@dataclass(frozen=True, slots=True)
class NetworkSize:
    """What of a model the bounds depend on: N, W in bytes, k in bytes; where it is, and its type."""

    parameters: int
    weights: int
    token: int
    device: torch.device
    dtype: torch.dtype

    @classmethod
    def of(cls, engine: Any) -> Self:
        """Those of an engine's model."""
        model, shape = engine.model, engine.runner.shape
        table, read = model.get_input_embeddings().weight, list(model.parameters())
        head = getattr(model, "get_output_embeddings", lambda: None)()
        if head is None or head.weight is not table:
            read = [parameter for parameter in read if parameter is not table]
        counts = [parameter.numel() for parameter in read]
        weights = sum(count * parameter.itemsize for count, parameter in zip(counts, read, strict=True))
        return cls(sum(counts), weights, shape.token_bytes, model.device, model.dtype)

    def drawing(self, prefix: int, rows: int, tokens: int) -> TokenBounds:
        """Of `rows` rows of `tokens` tokens, one after another."""
        own = self.token * rows * tokens * (tokens + 1) // 2
        return self._bounds(rows * tokens, tokens * (self.weights + self.token * prefix) + own)

    def reading(self, prefix: int, rows: int, tokens: int) -> TokenBounds:
        """The same, all tokens at once."""
        return self._bounds(rows * tokens, self.weights + self.token * (prefix + rows * tokens))

    def _bounds(self, tokens: int, moved: int) -> TokenBounds:
        speed = machine_speed(self.device, self.dtype)
        return TokenBounds(tokens * speed.bytes / moved, speed.operations / (2 * self.parameters))


@lru_cache(8)
def machine_speed(device: torch.device, dtype: torch.dtype) -> MachineSpeed:
    """The best of TRIES copies and products, with the threads that torch has."""
    large = device.type == "cuda"
    here = torch.empty((1024 if large else 128) * MIB, dtype=torch.uint8, device=device).fill_(1)
    there = torch.empty_like(here)
    side = 8192 if large else 1024
    a, b = (torch.ones(side, side, dtype=dtype, device=device) for _ in range(2))
    copy = _best(device, lambda: there.copy_(here))
    product = _best(device, lambda: a @ b)
    return MachineSpeed(2 * here.numel() / copy, 2 * side**3 / product)


def _best(device: torch.device, work: Callable[[], object]) -> float:
    """Seconds, the first time apart."""
    times = []
    for _ in range(1 + TRIES):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return min(times[1:])
