"""Forwards of one shape, recorded once and replayed: on CUDA as graphs, in which no kernel waits for Python.

What is recorded is a function of no arguments that reads and writes tensors at addresses that stay (fixed.py). A shape
that is met for the first time runs as it is, which is the graph's warm-up; it is recorded when it comes again. A model
whose forward cannot be recorded goes on without, and says so once.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, Protocol, TypeAlias
from weakref import WeakSet

import torch
from torch import Tensor

from gsi_node.text.reading import first_line

Forward: TypeAlias = Callable[[], Tensor]
"""Logits; where it was recorded, the same tensor every time."""
MOST = 48
"""Graphs that one batch keeps: each holds the logits of its rows, and all share the memory between."""
_ONE = Lock()  # torch records one graph at a time in a process
_log = logging.getLogger("gsi_node.engine")


class Recorder(Protocol):
    """given_up: why nothing is recorded any more."""

    given_up: str | None

    def record(self, forward: Forward) -> Forward | None:
        """What runs the same kernels again; None where it is given up."""


class CudaRecorder:
    """Graphs of one model, which share a pool of memory: they are replayed one after another."""

    def __init__(self, name: str, device: torch.device) -> None:
        self.given_up: str | None = None
        self._name, self._device = name, device
        self._stream: Any = None
        self._graphs: WeakSet[Any] = WeakSet()  # a pool whose graphs are all gone is no pool any more

    def record(self, forward: Forward) -> Forward | None:
        """As `Recorder`. Other threads may use the device meanwhile."""
        if self.given_up is not None:
            return None
        try:
            self._stream = self._stream or torch.cuda.Stream(self._device)
            graph, pool = torch.cuda.CUDAGraph(), next((other.pool() for other in self._graphs), None)
            capture = torch.cuda.graph(graph, pool=pool, stream=self._stream, capture_error_mode="thread_local")
            with _ONE, torch.cuda.device(self._device), capture:
                logits = forward()
        except RuntimeError as error:  # also of CUDA, and for want of memory
            cause = error if error.__context__ is None else error.__context__  # of the model; then of the recording
            self.given_up = f"decodes without CUDA graphs: {first_line(cause)}"
            _log.warning("%s %s", self._name, self.given_up)
            return None
        self._graphs.add(graph)

        def replay() -> Tensor:
            graph.replay()
            return logits

        return replay


class Unrecorded:
    """Fixed shapes, and every forward run as it is: what the shapes themselves cost, and for tests."""

    given_up: str | None = None

    def record(self, forward: Forward) -> Forward | None:
        """As `Recorder`."""
        return forward


class Recordings:
    """Forwards of one batch by shape, the MOST that were run last."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._met: set[Hashable] = set()
        self._known: OrderedDict[Hashable, Forward] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def run(self, shape: Hashable, forward: Forward) -> Tensor:
        """The logits of `forward`, or of what was recorded of it."""
        if shape in self._known:
            self._known.move_to_end(shape)
            return self._known[shape]()
        if shape not in self._met:
            self._met.add(shape)
            return forward()
        recorded = self._recorder.record(forward)
        if recorded is None:
            return forward()
        self._known[shape] = recorded
        if len(self._known) > MOST:
            self._known.popitem(last=False)
        return recorded()

    def forget(self) -> None:
        """Addresses have changed."""
        self._met.clear()
        self._known.clear()
