"""A stand-in for CUDA graphs on a CPU: operators are written down as they run, and run again on the same memory.

As in a graph, every number that Python handed to an operator stays what it was, tensors are what stands at their
addresses, and a number that Python reads of one is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from gsi_node.engine.graphs import Forward
from gsi_node.models.transformers import TransformersModel

READS = {f"aten.{name}.default" for name in ("item", "is_nonzero", "_local_scalar_dense", "nonzero", "equal")}


class Tape(TorchDispatchMode):
    """What ran: operators, what they were given, and what they gave."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if str(func) in READS:
            raise RuntimeError("operation not permitted when stream is capturing")
        result = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, result))
        return result

    def run(self, wanted: Tensor) -> Tensor:
        """All of it again; what `wanted` is then."""
        now: dict[int, Tensor] = {}

        def current(tensor: Tensor) -> Tensor:
            return now.get(id(tensor), tensor)

        for func, args, kwargs, results in self.calls:
            given, named = tree_map_only(Tensor, current, (args, kwargs))
            again = func(*given, **named)
            now.update((id(old), new) for old, new in zip(tree_leaves(results), tree_leaves(again), strict=True))
        return current(wanted)


class TapeRecorder:
    """Tapes instead of graphs. made: how many."""

    def __init__(self) -> None:
        self.given_up: str | None = None
        self.made = 0

    def record(self, forward: Forward) -> Forward | None:
        with Tape() as tape:
            logits = forward()
        kept = torch.full_like(logits, torch.nan)
        self.made += 1
        return lambda: kept.copy_(tape.run(logits))  # as a graph's, the next one overwrites it


@contextmanager
def recorded(*models: TransformersModel, by: Any = None) -> Iterator[Any]:
    """These models decode in fixed shapes, by `by` or tapes of their own; yields what records them."""
    recorders = [by or TapeRecorder() for _ in models]
    for model, recorder in zip(models, recorders, strict=True):
        model.engine.runner.recorder = recorder
    try:
        yield recorders
    finally:
        for model in models:
            model.engine.runner.recorder = None
