"""The training loop shared by the three models: schedule, checkpoints, logging, exact resumption."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from gsi_node.pocket.training.data import StreamPlace
from gsi_node.pocket.training.optim import optimizers


@dataclass(frozen=True, slots=True)
class TrainingSchedule:
    """How long and how fast: `tokens` seen in all (prompt and solution, without padding), `batch` tokens a step.

    The learning rates (`muon` for hidden matrices, `adam` for the rest) rise linearly over `warm_up` tokens, stay flat,
    and fall linearly to 0 over the last share `decay` of the tokens.
    """

    tokens: int
    muon: float
    adam: float
    batch: int = 3072
    warm_up: int = 200_000
    decay: float = 0.3

    def share(self, seen: int) -> float:
        """The share of the learning rates in force after `seen` tokens."""
        rise = min(1.0, (seen + self.batch) / self.warm_up)
        fall = (self.tokens - seen) / (self.decay * self.tokens)
        return max(0.0, min(rise, fall))


class Batches(Protocol):
    """A source of batches that can be restarted at a place."""

    @property
    def place(self) -> StreamPlace:
        """Where the next batch stands."""

    def next(self) -> tuple[Tensor, Tensor]:
        """Ids and labels, both [rows, tokens], right-padded."""


class Log:
    """Lines to standard error and to a file."""

    def __init__(self, path: Path) -> None:
        """Append to `path`."""
        self._path, self._start = path, time.monotonic()

    def line(self, text: str) -> None:
        """One line, with the seconds since this process began."""
        text = f"{time.monotonic() - self._start:7.0f}s {text}\n"
        sys.stderr.write(text)
        with self._path.open("a") as file:
            file.write(text)


def load_place(checkpoint: Path, *, resume: bool) -> StreamPlace:
    """The place in the stream that a checkpoint was saved at; the beginning without one."""
    if not (resume and checkpoint.exists()):
        return StreamPlace(0, 0)
    return StreamPlace(*torch.load(checkpoint, weights_only=True)["place"])


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    stream: Batches,
    schedule: TrainingSchedule,
    checkpoint: Path,
    *,
    loss: Callable[[Tensor, Tensor], Tensor],
    measure: Callable[[], str],
    resume: bool,
    save_every: float = 300.0,
    stop: int | None = None,
) -> None:
    """Train `model` in place, writing `checkpoint` every `save_every` seconds and at the end.

    `loss` maps a batch to nats, `measure` describes the model in one line. `stop` ends early once so many tokens were
    seen. With `resume` the checkpoint's state is loaded first (`stream` must stand at its place); the result is the one
    of an uninterrupted run.
    """
    log = Log(checkpoint.with_suffix(".log"))
    made = optimizers(model, schedule.muon, schedule.adam)
    peaks = [group["lr"] for optimizer in made for group in optimizer.param_groups]
    seen = 0
    if resume and checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True, map_location=model.device)
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(made, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        seen = state["seen"]
        log.line(f"resumed at {seen} tokens")
    log.line(f"{checkpoint.stem}: {sum(param.numel() for param in model.parameters())} parameters, {schedule}")

    def save() -> None:
        """Write beside, then replace: an interrupted write leaves the old checkpoint."""
        state = {
            "model": model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in made],
            "seen": seen,
            "place": (stream.place.pool, stream.place.batch),
        }
        beside = checkpoint.with_suffix(".tmp")
        torch.save(state, beside)
        beside.replace(checkpoint)

    saved_at = logged_at = time.monotonic()
    since = seen
    losses: list[Tensor] = []
    model.train()
    while seen < schedule.tokens and (stop is None or seen < stop):
        ids, labels = stream.next()
        fed = int((ids != tokenizer.pad_token_id).sum())
        ids, labels = ids.to(model.device), labels.to(model.device)
        share = schedule.share(seen)
        groups = [group for optimizer in made for group in optimizer.param_groups]
        for group, peak in zip(groups, peaks, strict=True):
            group["lr"] = peak * share
        value = loss(ids, labels)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in made:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        seen += fed
        losses.append(value.detach())
        if len(losses) == 50:
            speed = (seen - since) / (time.monotonic() - logged_at)
            log.line(f"{seen} tokens, loss {float(sum(losses)) / 50:.4f}, rate {share:.3f}, {speed:.0f} tokens/s")
            logged_at, since, losses = time.monotonic(), seen, []
        if time.monotonic() - saved_at > save_every:
            save()
            model.eval()
            log.line(measure())
            model.train()
            saved_at = time.monotonic()
    save()
    model.eval()
    log.line(f"stopped at {seen} tokens; {measure()}")
