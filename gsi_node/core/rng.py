"""Keyed random streams: u(key, candidate, t) is a pure function, so a draw does not depend on who else draws.

A stream is Philox-4×64 under the 128-bit key blake2b(seed, problem_id, step, phase, candidate); its t-th value is
the t-th 64-bit output, scaled to 53 bits. Both are integer arithmetic, hence equal on every machine.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from gsi_node.types import Array, Key


class Stream:
    """One random stream: consecutive uniforms on [0, 1) with 53 random bits each."""

    __slots__ = ("_bits",)

    def __init__(self, key: Key, candidate: int = 0) -> None:
        fields = (key.seed, key.problem_id, key.step, key.phase, candidate)
        digest = blake2b(repr(fields).encode(), digest_size=16).digest()
        self._bits = np.random.Philox(key=int.from_bytes(digest, "little"))

    def uniforms(self, count: int) -> Array:
        """The next `count` values, shape (count,)."""
        raw = np.asarray(self._bits.random_raw(count), dtype=np.uint64)
        return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def uniform(self) -> float:
        """The next value."""
        return float(self.uniforms(1)[0])
