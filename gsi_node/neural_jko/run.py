"""A training run in a folder: the stages of `train` one layer after another, written as they are finished.

config.json   what determines the numbers (identity.py); the same run goes on, another is refused
lock          held while a process writes here
and the files of a stack (saved.py), whose stack.json alone says which layers exist, and their losses (losses.py)

Every file appears whole and synchronised, so a kill or a full disk at any moment leaves a folder that goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple, TypeVar

from gsi_node.errors import ConfigError, GSIError, ResumeMismatch
from gsi_node.host.files import PART, read_object, write
from gsi_node.neural_jko import train
from gsi_node.neural_jko.check import CheckedTarget, refuse_device, refuse_unnormalisable
from gsi_node.neural_jko.config import JKOConfig, LayerStage
from gsi_node.neural_jko.flow import Flow
from gsi_node.neural_jko.frame import AffineFrame, round_frame
from gsi_node.neural_jko.identity import differences, identity
from gsi_node.neural_jko.latent import Latent, NormalLatent
from gsi_node.neural_jko.lock import LOCK, held
from gsi_node.neural_jko.losses import LossRecord
from gsi_node.neural_jko.pilot import Pilot, pilot
from gsi_node.neural_jko.saved import (
    FRAME,
    MANIFEST,
    load_base,
    load_layer,
    load_pilot,
    read_records,
    save_base,
    save_layer,
    write_manifest,
)
from gsi_node.neural_jko.stack import Stack, StackLayer
from gsi_node.neural_jko.start import first_flow
from gsi_node.neural_jko.targets import Target
from gsi_node.types import Plain

CONFIG = "config.json"
DROPPED = "dropped"  # of the record of a first layer: why there is no flow below it
T = TypeVar("T")


class Ground(NamedTuple):
    """What lies below the first layer."""

    frame: AffineFrame
    latent: Latent
    pilot: Pilot | None

    @property
    def ess(self) -> float:
        """Of the latent as a proposal for g, where a pilot chose it: a share."""
        mixture = self.pilot is not None and not isinstance(self.latent, NormalLatent)
        return self.pilot.latent_ess if mixture and self.pilot else 0.0

    @property
    def start(self) -> Pilot | None:
        """The pilot whose points a first flow can be fitted to by maximum likelihood."""
        normal = isinstance(self.latent, NormalLatent)
        return self.pilot if self.pilot is not None and normal and self.pilot.fits_points else None


class Run:
    """A target, settings and a folder.

    Raises ConfigError (no such device, a folder of another program), ResumeMismatch (a folder of another run: settings,
    density or kind of device), InUse (another process is writing there), StorageError (a full disk).
    """

    def __init__(
        self,
        target: Target,
        config: JKOConfig,
        folder: Path,
        *,
        device: str = "cpu",
        told: train.OnProgress = train.silent,
    ) -> None:
        refuse_device(device)
        self.target, self.config, self.folder, self.device, self.told = target, config, Path(folder), device, told
        self.evaluate = CheckedTarget(target)
        self._layers: list[tuple[Plain, StackLayer]] = []
        self._ground: Ground | None = None
        self._ground_cost: Plain = {}  # what it took to make it, where that was here
        self._holding = 0
        self._claim()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder while something is written in it; may be nested. Raises InUse where another has it."""
        with nullcontext() if self._holding else held(self.folder):
            self._holding += 1
            try:
                yield
            finally:
                self._holding -= 1

    def _claim(self) -> None:
        """Write config.json, or compare with the one that is there. Raises ResumeMismatch naming what differs."""
        mine, path = identity(self.target, self.config, self.device), self.folder / CONFIG
        if self._compare(mine, path):
            return
        with self.held():
            if self._compare(mine, path):  # another process was first
                return
            others = [entry.name for entry in self.folder.iterdir() if entry.name not in (LOCK, CONFIG + PART)]
            if others:
                raise ConfigError(
                    f"{self.folder}: holds {', '.join(sorted(others)[:3])} and no {CONFIG}, so it is no run of neural "
                    "JKO; name a new folder"
                )
            write(path, json.dumps(mine, indent=1) + "\n")

    def _compare(self, mine: Plain, path: Path) -> bool:
        """Whether there is a file of this run. It is given the settings that are new since."""
        there = read_object(path)
        if there is None:
            return False
        if not {"target", "dim", "tau"} <= there.keys():
            raise ConfigError(f"{path}: not of neural JKO; name another folder")
        if "coordinates" not in there:
            raise ResumeMismatch(f"{path}: a run of version 0.1, which trained by another method; name another folder")
        if told := differences(there, mine):
            raise ResumeMismatch(
                f"{path}: a run with other settings ({', '.join(told)}); name another folder, or those settings"
            )
        if not mine.keys() <= there.keys():
            with self.held():
                write(path, json.dumps({**mine, **there}, indent=1) + "\n")
        return True

    @property
    def ground(self) -> Ground:
        """The coordinates and the pilot's run, made and written where the folder has none. Raises NotNormalisable."""
        if self._ground is None and (self.folder / FRAME).exists():
            self._ground = self._read_ground()
        elif self._ground is None:
            made, self._ground_cost = self._costed(self._make_ground)
            self._ground = made
        return self._ground

    def _read_ground(self) -> Ground:
        if self.config.coordinates == "latent":
            return Ground(*load_base(self.folder), None)
        found = load_pilot(self.folder)
        return Ground(found.frame, found.latent, found)

    def _make_ground(self) -> Ground:
        config, found = self.config, None
        latent: Latent = NormalLatent(self.target.dim)
        if config.coordinates == "latent":
            frame = round_frame(self.target.dim, config.latent_mean, config.latent_scale)
        else:
            seed = train.generator_for(config.seed, "pilot", 0).initial_seed()
            found = pilot(self.target.log_density, self.target.dim, seed, config.pilot_evaluations)
            frame, latent = found.frame, found.latent
        refuse_unnormalisable(self.target, frame, train.generator_for(config.seed, "rays", 0))
        with self.held():
            save_base(frame, latent, self.folder, found)
        return self._read_ground()  # what a run that goes on reads: another layout in memory rounds otherwise

    def stack(self, depth: int | None = None) -> Stack:
        """The stack of the first `depth` layers that exist, of all of them where it is None."""
        records = self.finished()[:depth]
        same = [a for a, (b, _) in zip(records, self._layers, strict=False) if a == b]
        self._layers = self._layers[: len(same)]
        for record in records[len(same) :]:
            self._layers.append((record, load_layer(record, self.folder, self.target.dim, self.device)))
        layers = [layer for _, layer in self._layers]
        base = self.ground
        return Stack(self.evaluate, layers, frame=base.frame, latent=base.latent, device=self.device)

    def grow(self, depth: int) -> int:
        """See that the stage above the first `depth` layers exists; the depth with it, the same where none is left."""
        records = self.finished()
        stage = self._above(records[:depth])
        if stage is None:
            return depth
        if len(records) <= depth:
            with self.held():
                self._make(stage, records)
        finished = self.finished()
        made = self._above(finished[:depth])  # rejections where a first flow was dropped
        return depth + (self.config.made_of(made, finished[depth:]) if made else 0)

    def _make(self, stage: LayerStage, records: list[Plain]) -> None:
        losses, found = LossRecord(self.told), self.ground.pilot
        layers, cost = self._costed(lambda: self._fit(stage, self.stack(), losses))
        why = self._no_better(layers[0], records)
        if why and not records:
            layers, more = self._costed(lambda: train.reject(self.stack(), self.config, self.config.first_rejections))
            cost = {key: spent + more[key] for key, spent in cost.items()}
        elif why:
            last = records[-1] | {key: records[-1][key] + spent for key, spent in cost.items()} | {"stopped": why}
            write_manifest(self.folder, self.target, [*records[:-1], last])
            return
        if not records and found is not None:
            cost = {key: spent + self._ground_cost.get(key, 0) for key, spent in cost.items()}
            cost["evaluations"] += found.evaluations
        made = [save_layer(layer, self.folder, len(records) + i) for i, layer in enumerate(layers)]
        losses.save(self.folder, len(records))
        free = dict.fromkeys(cost, 0)
        costed: list[Plain] = [record | (free if i else cost) for i, record in enumerate(made)]
        if why:
            costed[0][DROPPED], costed[-1]["stopped"] = why, why
        write_manifest(self.folder, self.target, [*records, *costed])

    def _no_better(self, made: StackLayer, records: list[Plain]) -> str | None:
        """Why the plan goes on without a flow on these layers; None: it helps, or was not compared with them."""
        flows = sum(record["kind"] == "flow" for record in records)
        if self.config.wanted_ess is None or not isinstance(made, Flow):
            return None
        if not records:
            worse = made.gain is not None and not made.gain > 0 and self.config.first_rejections
            return f"a flow on the latent changed E log w by {made.gain:+.2f} nats: there is none" if worse else None
        if flows < max(1, self.config.flows_first):
            return None
        below = records[-1].get("ess", 0.0)
        return None if made.ess > below else f"a further flow left an ESS of {made.ess:.3f} for {below:.3f}"

    def _fit(self, stage: LayerStage, stack: Stack, told: train.OnProgress) -> Sequence[StackLayer]:
        if stage.kind == "rejection":
            return train.reject(stack, self.config, stage.layers)
        start = self.ground.start if self.config.likelihood_steps and not stack.layers else None
        if start is None:
            return [train.fit_flow(stack, self.config, self._aim(stack, self.ground.pilot), told)]
        return [first_flow(stack, start, self.config, told)]

    def _aim(self, stack: Stack, found: Pilot | None) -> train.Aim:
        """Over-dispersed, and tempered from the latent on where a pilot's points know how far; g itself otherwise."""
        if found is None or not found.fits_points:
            return train.Aim()
        power = found.points.power_for(self.config.proposal_ess)
        return train.Aim(power) if stack.layers else train.Aim(power, found.first_power, self.config.tempered)

    def _costed(self, make: Callable[[], T]) -> tuple[T, Plain]:
        start, used, before = time.perf_counter(), time.process_time(), self.evaluate.count
        try:
            made = make()
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, GSIError) or "memory" not in str(error).lower():
                raise
            raise ConfigError(
                f"out of memory ({error}): take fewer particles, a smaller batch_size or width"
            ) from error
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - used
        return made, {"seconds": seconds, "cpu_seconds": cpu_seconds, "evaluations": self.evaluate.count - before}

    def next_stage(self, depth: int) -> LayerStage | None:
        """What the plan puts above the first `depth` layers; None: nothing more."""
        return self._above(self.finished()[:depth])

    def _above(self, records: list[Plain]) -> LayerStage | None:
        return self.config.next_stage(records, 0.0 if records else self.latent_ess)

    @property
    def latent_ess(self) -> float:
        """Of what the first flow would start from, a share; 1 where none was found to be better than no flow."""
        return 1.0 if any(DROPPED in record for record in read_records(self.folder)[:1]) else self.ground.ess

    def finished(self) -> list[Plain]:
        """The records of the layers that stack.json names; none where there is no such file yet."""
        records, depth = read_records(self.folder), 0
        while depth < len(records):
            stage = self._above(records[:depth])
            made = 0 if stage is None else self.config.made_of(stage, records[depth:])
            if not made:
                kinds = [record.get("kind") for record in records[depth:]]
                raise ConfigError(
                    f"{self.folder / MANIFEST}: layers {kinds[:4]} … from {depth} on are not of the plan ({stage})"
                )
            depth += made
        return records

    def complete(self) -> Stack:
        """Train every layer of the plan that does not exist yet."""
        with self.held():
            depth = len(self.finished())
            while (higher := self.grow(depth)) > depth:
                depth = higher
        return self.stack()
