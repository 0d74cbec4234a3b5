"""The head: fitted on one split, calibrated on another, and kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from pydantic import TypeAdapter
from safetensors import safe_open

from evals.run.progress import RunMeter
from evals.train_reward.choosing import STRENGTHS, choose
from evals.train_reward.examples import in_pairs, one_by_one
from evals.train_reward.judged import SplitName, TriedHead
from evals.train_reward.rollouts import Labels
from evals.train_reward.sampling import Sample
from evals.train_reward.states import States
from gsi_node.errors import NumericError
from gsi_node.host.files import write
from gsi_node.rewards.wrappers.calibration import sigmoid
from gsi_node.rewards.wrappers.fitting import platt
from gsi_node.types import Array

HEAD = "head.safetensors"


@dataclass(frozen=True, slots=True)
class FitRecord:
    """How a head came about. made_of: a digest of the steps it was fitted to and their labels. slope, offset: of the
    map of its logit that was fitted on the calibrate split, and is in the head."""

    made_of: str
    tried: tuple[TriedHead, ...]
    best: TriedHead
    slope: float
    offset: float


_RECORD = TypeAdapter(FitRecord)


@dataclass(frozen=True, slots=True)
class StepHead:
    """P(good) = σ(v·state + b) of the states after `layers` layers. vector: shape (width,); it and the bias are numbers
    of the model's dtype, as float64."""

    vector: Array
    bias: float
    record: FitRecord

    @property
    def layers(self) -> int:
        """How many of the model's are kept."""
        return self.record.best.layers

    @property
    def checksum(self) -> str:
        """Of v and b."""
        return blake2b(np.append(self.vector, self.bias).tobytes(), digest_size=16).hexdigest()

    def scores(self, states: Array) -> Array:
        """P(good) of each row of states."""
        return sigmoid(states @ self.vector + self.bias)


def fitted(
    samples: Mapping[SplitName, Sequence[Sample]], labels: Labels | None, states: States, seed: int, folder: Path
) -> StepHead:
    """The head in the folder, if it was made of the same; else a new one, which is put there.

    labels: of the fit split's steps; None: it is fitted to pairs of steps. Raises ConfigError where the responses teach
    nothing, NumericError, StorageError.
    """
    fit, file = samples["fit"], folder / HEAD
    known_by = [(one.key, one.correct if labels is None else labels[one.key]) for one in fit]
    made_of = blake2b(repr((states.model, known_by, seed)).encode()).hexdigest()
    if file.exists() and (known := _read(file)).record.made_of == made_of:
        return known
    steps = in_pairs(fit) if labels is None else one_by_one(fit, labels)
    with RunMeter(len(states.rows) * len(STRENGTHS), "fits") as meter:
        meter.begin()
        tried, best, theta = choose(
            list(states.rows), lambda layers: states.of(layers, fit), steps, seed, lambda: meter.row(None)
        )
    logits = states.of(best.layers, samples["calibrate"]) @ theta[:-1] + theta[-1]
    outcomes = np.concatenate([[float(one.correct)] * len(one.steps) for one in samples["calibrate"]])
    slope, offset = platt(sigmoid(logits), outcomes)
    if slope <= 0:
        raise NumericError(
            f"on the calibrate split the head ranks steps the wrong way round (slope {slope:.3f}): it has learned "
            "nothing that carries over; more problems, of more kinds"
        )
    record = FitRecord(made_of, tuple(tried), best, slope, offset)
    exact = torch.from_numpy(np.append(slope * theta[:-1], slope * theta[-1] + offset))
    kept = exact.to(states.rows[best.layers].dtype).double().numpy()
    head = StepHead(kept[:-1], float(kept[-1]), record)
    tensors = {"vector": head.vector, "bias": np.asarray([head.bias])}
    write(file, safetensors.numpy.save(tensors, {"record": _RECORD.dump_json(record).decode()}))
    return head


def _read(file: Path) -> StepHead:
    with safe_open(file, framework="np") as opened:
        record = _RECORD.validate_json(opened.metadata()["record"])
        return StepHead(opened.get_tensor("vector"), float(opened.get_tensor("bias")[0]), record)
