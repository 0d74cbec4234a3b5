"""The hidden states of all responses, in files of some responses each: what is there already is not computed again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from evals.run.progress import RunMeter
from evals.train_reward.backbone import Backbone
from evals.train_reward.sampling import ResponseKey, Sample
from gsi_node.errors import ConfigError, ResumeMismatch
from gsi_node.host.files import write
from gsi_node.rewards.prm.layout import StepLayout
from gsi_node.types import Array, Ids

STATES, ABOUT = "states", "about"
A_FILE = 64
"""Responses."""


@dataclass(frozen=True, slots=True)
class StatesFile:
    """What a file is of. model: its digest. keys: of the responses. lengths: how many steps of each were read."""

    model: str
    keys: tuple[ResponseKey, ...]
    lengths: tuple[int, ...]


_STATES_FILE = TypeAdapter(StatesFile)


@dataclass(frozen=True, slots=True)
class States:
    """rows: by layers, shape (steps of all responses, width). places: where those of each response stand; none of one
    that the model does not read. model: the digest of the model they are of."""

    rows: dict[int, Tensor]
    places: dict[ResponseKey, tuple[int, int]]
    model: str

    def of(self, layers: int, samples: Sequence[Sample]) -> Array:
        """Those of some responses, one after the other, in float64."""
        return torch.cat([self.rows[layers][slice(*self.places[one.key])] for one in samples]).double().numpy()


def ids_and_ends(layout: StepLayout, sample: Sample, limit: int) -> tuple[Ids, list[int]] | None:
    """The ids of problem and steps, and the places at which the reward will be read. None where it would refuse: a text
    that its tokenizer has no tokens for, more than `limit` tokens, or a step without any."""
    try:
        ids, ends = list(layout.prompt(sample.problem.problem)), []
        for place, text in enumerate(sample.steps):
            step = layout.candidate(text, place == 0)
            if not step:
                return None
            ids += step
            ends.append(len(ids) - 1)
    except ConfigError:
        return None
    return (tuple(ids), ends) if len(ids) <= limit else None


def all_states(samples: Sequence[Sample], layers: Sequence[int], folder: Path, load: Callable[[], Backbone]) -> States:
    """Of every response, one forward each. load: the model, asked for where something is left to compute.

    Raises ResumeMismatch where the model is no longer the one of the files, StorageError.
    """
    files = sorted((folder / STATES).glob("*.safetensors"))
    kept = [_read(file) for file in files]
    known = {key for about, _ in kept for key in about.keys}
    left = [one for one in samples if one.key not in known]
    if left:
        backbone = load()
        if any(about.model != backbone.digest for about, _ in kept):
            raise ResumeMismatch(
                f"{folder / STATES} is of another model than {backbone.source.name}; name another --out"
            )
        number = int(files[-1].stem) + 1 if files else 0
        with RunMeter(len(left), "responses read") as meter:
            meter.begin()
            for start in range(0, len(left), A_FILE):
                about, tensors = _computed(left[start : start + A_FILE], layers, backbone, meter)
                metadata = {ABOUT: _STATES_FILE.dump_json(about).decode()}
                file = folder / STATES / f"{number + start // A_FILE:05d}.safetensors"
                write(file, safetensors.torch.save(tensors, metadata))
                kept.append((about, tensors))
    return _joined(kept, layers)


def _computed(
    samples: Sequence[Sample], layers: Sequence[int], backbone: Backbone, meter: RunMeter
) -> tuple[StatesFile, dict[str, Tensor]]:
    """What a file of states holds."""
    none = torch.empty(0, backbone.config.hidden_size, dtype=backbone.body.dtype)
    found = {count: [none] for count in layers}
    lengths = []
    for one in samples:
        read = ids_and_ends(backbone.layout, one, backbone.config.max_position_embeddings)
        for count, rows in (backbone.states(*read) if read else {}).items():
            found[count].append(rows)
        lengths.append(len(read[1]) if read else 0)
        meter.row(None)
    about = StatesFile(backbone.digest, tuple(one.key for one in samples), tuple(lengths))
    return about, {str(count): torch.cat(rows) for count, rows in found.items()}


def _read(file: Path) -> tuple[StatesFile, dict[str, Tensor]]:
    try:
        with safe_open(file, framework="pt") as opened:
            about = _STATES_FILE.validate_json((opened.metadata() or {})[ABOUT])
        return about, safetensors.torch.load_file(file)
    except (SafetensorError, KeyError, ValidationError, OSError) as error:
        raise ConfigError(f"{file}: cannot be read ({error}); take it away, and it is computed again") from error


def _joined(kept: Sequence[tuple[StatesFile, dict[str, Tensor]]], layers: Sequence[int]) -> States:
    places: dict[ResponseKey, tuple[int, int]] = {}
    begin = 0
    for about, _ in kept:
        for key, length in zip(about.keys, about.lengths, strict=True):
            if length:
                places[key] = begin, begin + length
            begin += length
    rows = {count: torch.cat([tensors[str(count)] for _, tensors in kept]) for count in layers}
    return States(rows, places, kept[0][0].model)
