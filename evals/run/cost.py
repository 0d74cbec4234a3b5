"""Forward FLOPs of a response, from its tokens:  2·(N·T + H·R) + 4·layers·width·C,  for each model.

N: parameters, without the input embedding (a look-up) and the output head. H: parameters of the output head, counted
also where it shares the embedding's table. T: tokens fed. R: tokens at which the head is read. C: Σ over fed tokens of
the keys each attends to, itself included. width: heads × head size; 4 = two products (QKᵀ, AV), a multiply and an add.

Counted is what an engine with a prefix cache must run: the prompt once a response; each token that a model generates,
once where candidates of a call have begun alike and it shares that (gsi_node/positions.py), and of equal candidates one
that it scores or judges; a committed step that it has not fed as a candidate, once.
So the figure depends on the response alone, not on batches, padding, what an earlier row left in the cache, or the
machine. The engine's own work differs a little: padded and finished rows ride along.
Experts of a mixture count as if all were active.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from gsi_node.positions import apart
from gsi_node.posix import resource
from gsi_node.rewards.verifier.reward import VerifierReward
from gsi_node.rewards.wrappers.wrapped import Wrapped
from gsi_node.tables.models import TableModel
from gsi_node.tables.rewards import TableReward
from gsi_node.types import Ids


@dataclass(frozen=True, slots=True)
class Size:
    """What the formula needs of a model: N and H in parameters, layers, width."""

    body: int
    head: int
    layers: int
    width: int

    def flops(self, work: Work) -> float:
        """2·(N·T + H·R) + 4·layers·width·C."""
        products = self.body * work.fed + self.head * work.read
        return 2.0 * products + 4.0 * self.layers * self.width * work.contexts


NOTHING = Size(0, 0, 0, 0)


def sizes_of(model: object) -> tuple[Size, ...] | None:
    """The sizes of the networks behind a model or reward that is asked: several for an ensemble; None where unknown."""
    match model:
        case TableModel() | TableReward() | VerifierReward():
            return (NOTHING,)
        case Wrapped():
            parts = [sizes_of(member) for member in model.members]
            return None if None in parts else tuple(size for part in parts if part for size in part)
        case InProcess():
            return (_size(model.engine.model),)
    return None


class Tensors(Protocol):
    """What is counted of a torch module."""

    def parameters(self) -> Iterable[CountedTensor]: ...
    def get_parameter(self, target: str) -> CountedTensor: ...


class CountedTensor(Protocol):
    """A tensor."""

    def numel(self) -> int: ...


class TextConfig(Protocol):
    """What is read of the configuration of a language model of transformers."""

    num_attention_heads: int
    num_hidden_layers: int
    hidden_size: int

    def get_text_config(self, *, decoder: bool) -> TextConfig: ...


class Network(Tensors, Protocol):
    """A language model of transformers."""

    config: TextConfig
    base_model_prefix: str

    def get_input_embeddings(self) -> Tensors: ...
    def get_output_embeddings(self) -> Tensors | None: ...


class NetworkEngine(Protocol):
    """What runs a network's forwards."""

    model: Network


@runtime_checkable
class InProcess(Protocol):
    """A model or reward whose network is in this process; told by a protocol, since its class needs torch."""

    engine: NetworkEngine


def _size(network: Network) -> Size:
    config = network.config.get_text_config(decoder=True)
    body = getattr(network, network.base_model_prefix, network)
    table = network.get_input_embeddings().get_parameter("weight")
    head = network.get_output_embeddings()
    own = sum(p.numel() for p in body.parameters()) - table.numel()
    extra = sum(p.numel() for p in network.parameters()) - own - table.numel()
    heads = config.num_attention_heads
    width = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
    return Size(
        own, head.get_parameter("weight").numel() if head is not None else extra, config.num_hidden_layers, width
    )


@dataclass(slots=True)
class Work:
    """T, R and C of one model over one response, in tokens. paths: the runs of steps after the prompt it has fed.

    speculative: it has worked token by token, so every committed step was fed as it was written.
    """

    fed: int = 0
    read: int = 0
    contexts: int = 0
    paths: set[tuple[Ids, ...]] = field(default_factory=set)
    speculative: bool = False

    def add(self, prompt: int, before: tuple[Ids, ...], rows: Sequence[Ids], *, judged: bool) -> None:
        """Feed candidates `rows` after a prompt of `prompt` tokens and the committed steps `before`.

        The last token of the prefix is fed with each candidate, whose own last token is not: a row of L tokens costs
        L positions, at P, P+1 … keys. judged: by a reward, which reads at the last token: L + 1 positions, one read.
        """
        self._feed(prompt, before, [(row, 0) for row in rows], judged=judged)

    def draw(self, prompt: int, before: tuple[Ids, ...], rows: Sequence[Ids]) -> None:
        """Sample candidates `rows`, which share the positions of their common beginnings."""
        self._feed(prompt, before, apart(rows), judged=False)

    def _feed(self, prompt: int, before: tuple[Ids, ...], rows: Sequence[tuple[Ids, int]], *, judged: bool) -> None:
        total = self._prefix(prompt, before)
        for row, shared in rows:
            width = len(row) + judged
            self.fed += width - shared
            self.read += 1 if judged else width - shared
            self.contexts += (width - shared) * (total - 1) + _triangle(width) - _triangle(shared)
        self.paths.update((*before, row) for row, _ in rows)

    def look_on(self, prompt: int, before: tuple[Ids, ...], row: Ids, start: int) -> None:
        """Read the laws after row[:start], row[:start + 1] … row: of token-level speculation, whose calls grow a row.

        len(row) − start + 1 positions. A step so written is held by both models once it is committed.
        """
        total = self._prefix(prompt, before)
        self.fed += len(row) - start + 1
        self.read += len(row) - start + 1
        self.contexts += _triangle(total + len(row)) - _triangle(total + start - 1)
        self.speculative = True

    def _prefix(self, prompt: int, before: tuple[Ids, ...]) -> int:
        """The tokens of the prefix; all but the last are fed now unless they have been."""
        total = prompt + sum(map(len, before))
        held = 0
        for known in range(len(before), -1, -1):
            if before[:known] in self.paths or (self.speculative and known):
                held = prompt + sum(map(len, before[:known])) - 1
                break
        self.fed += max(0, total - 1 - held)
        self.contexts += _triangle(total - 1) - _triangle(held)
        self.paths.add(before)
        return total


def _triangle(length: int) -> int:
    """1 + 2 + … + length."""
    return length * (length + 1) // 2


def peak_memory_bytes() -> int:
    """The most memory CUDA tensors took in this process since `forget_peak`; without CUDA, the process's own peak."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return int(sum(torch.cuda.max_memory_allocated(i) for i in range(torch.cuda.device_count())))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def forget_peak() -> None:
    """Begin CUDA's count anew."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        for i in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(i)
