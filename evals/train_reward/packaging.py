"""The head as a model of its own: the kept layers with a token classifier, which transformers loads."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError

from evals.train_reward.backbone import Backbone
from evals.train_reward.head import StepHead
from evals.train_reward.recipe import TRAINING
from evals.train_reward.sampling import Sample
from evals.train_reward.states import States
from gsi_node.engine.loading import without_bars
from gsi_node.errors import NumericError, StorageError
from gsi_node.host.files import sync_folder, write
from gsi_node.protocols import Reward
from gsi_node.rewards.prm.in_process import TransformersPRM
from gsi_node.types import Prefix, Step

CONFIG = "config.json"
PACKAGED = "packaged.txt"
"""Holds the checksum of the head that the package has."""
ASKED = 4
"""Responses of which a new package is asked."""
FINE, COARSE = 1e-5, 0.1
"""How far package and head may differ in float32 and above, and below, where a batch behind a cache rounds otherwise
than one forward does."""


def put_together(
    head: StepHead, samples: Sequence[Sample], states: States, out: Path, load: Callable[[], Backbone]
) -> None:
    """Write the model into `out`, where this head's is not there yet, once what it says of some samples is what the
    head says. load: the model whose layers are kept. Raises NumericError where they differ, StorageError, OSError.
    """
    done, part = out / TRAINING / PACKAGED, out / TRAINING / "package"
    if done.exists() and done.read_text() == head.checksum and (out / CONFIG).exists():
        return
    shutil.rmtree(part, ignore_errors=True)
    backbone = load()
    try:
        with without_bars():
            backbone.classifier(head.layers, torch.from_numpy(head.vector), head.bias).save_pretrained(part)
            backbone.tokenizer.save_pretrained(part)
    except SafetensorError as error:  # how it tells of a full disk
        raise StorageError(f"{part}: cannot be written: {error}") from error
    _compare(part, backbone, head, samples[:ASKED], states)
    (out / CONFIG).unlink(missing_ok=True)  # without it nothing loads what is of two heads
    for file in sorted(part.iterdir(), key=lambda file: file.name == CONFIG):
        os.replace(file, out / file.name)
    sync_folder(out)
    part.rmdir()
    write(done, head.checksum)


def _compare(folder: Path, backbone: Backbone, head: StepHead, samples: Sequence[Sample], states: States) -> None:
    source = backbone.source
    reward = TransformersPRM.from_pretrained(folder, device=source.device, dtype=source.dtype)
    allowed = FINE if torch.finfo(backbone.body.dtype).eps < 1e-6 else COARSE
    for one in samples:
        gap = abs(head.scores(states.of(head.layers, [one])) - said_of(reward, one)).max()
        if not gap <= allowed:
            raise NumericError(
                f"the packaged reward differs by {gap:.3g} from its head on {one.key}, and may by {allowed:g}: "
                f"{source.name} does not compute the same twice; try another dtype"
            )


def said_of(reward: Reward, one: Sample) -> list[float]:
    """What a reward says of each step of a response."""
    steps = [Step(text, (), 0.0, False) for text in one.steps]
    return [reward(Prefix(one.problem.problem, tuple(steps[:place])), [step])[0] for place, step in enumerate(steps)]
