"""A training run in a folder: the stages of `train` one layer after another, written as they are finished.

config.json            what determines the numbers (identity.py); the same run goes on, another is refused
stack.json             the layers that exist, and what each cost
NNN-flow.safetensors   a flow
lock                   held while a process writes here

Every file appears whole and synchronised, so a kill or a full disk at any moment leaves a folder that goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TypeVar

from gsi_node.errors import ConfigError, GSIError, ResumeMismatch
from gsi_node.host.files import PART, read_object, write
from gsi_node.neural_jko import train
from gsi_node.neural_jko.check import refuse_device
from gsi_node.neural_jko.config import JKOConfig
from gsi_node.neural_jko.identity import differences, identity
from gsi_node.neural_jko.lock import LOCK, held
from gsi_node.neural_jko.stack import MANIFEST, Stack, StackLayer, load_layer, read_records, save_layer, write_manifest
from gsi_node.neural_jko.targets import Target
from gsi_node.types import Plain

CONFIG = "config.json"
T = TypeVar("T")


class Run:
    """A target, settings and a folder. Stages take the records of the layers below, and return that of the new one.

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
        self._stack: tuple[list[Plain], Stack] | None = None
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
        """Whether there is a file of this run. A file of 0.1.0 is given what it lacks."""
        there = read_object(path)
        if there is None:
            return False
        if not {"target", "dim", "tau"} <= there.keys():
            raise ConfigError(f"{path}: not of neural JKO; name another folder")
        if told := differences(there, mine):
            raise ResumeMismatch(
                f"{path}: a run with other settings ({', '.join(told)}); name another folder, or those settings"
            )
        if not mine.keys() <= there.keys():
            with self.held():
                write(path, json.dumps({**mine, **there}, indent=1) + "\n")
        return True

    def stack(self, records: list[Plain]) -> Stack:
        """The stack of these layers; kept in memory between stages, and read from the files where it is not there."""
        if self._stack is None:
            self._stack = ([], train.empty_stack(self.target, self.config, self.device))
        known, stack = self._stack
        if known != records[: len(known)]:
            known, stack.layers = [], []
        for record in records[len(known) :]:
            stack.layers.append(load_layer(record, self.folder, self.target.dim, self.device))
        self._stack = (list(records), stack)
        return stack

    def flow(self, records: list[Plain]) -> Plain:
        """Train the next flow."""
        return self._timed(records, lambda stack: train.fit_flow(stack, self.config, self.told))

    def weigh(self, records: list[Plain]) -> tuple[float, Plain]:
        """log c for the next rejection layer, and what it cost to find."""
        return self._costed(self.stack(records), lambda stack: train.weigh(stack, self.config))

    def reject(self, records: list[Plain], log_c: float, spent: Plain) -> Plain:
        """The next rejection layer; `spent` is what weighing cost."""
        return self._timed(records, lambda stack: train.reject(stack, self.config, log_c), spent)

    def _costed(self, stack: Stack, make: Callable[[Stack], T]) -> tuple[T, Plain]:
        start, used, before = time.perf_counter(), time.process_time(), stack.evaluate.count
        try:
            made = make(stack)
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, GSIError) or "memory" not in str(error).lower():
                raise
            raise ConfigError(
                f"out of memory ({error}): take fewer particles, a smaller batch_size or width"
            ) from error
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - used
        return made, {"seconds": seconds, "cpu_seconds": cpu_seconds, "evaluations": stack.evaluate.count - before}

    def _timed(self, records: list[Plain], make: Callable[[Stack], StackLayer], spent: Plain | None = None) -> Plain:
        """Make a layer, write it, and return its record with its cost."""
        with self.held():
            stack = self.stack(records)
            layer, cost = self._costed(stack, make)
            record = save_layer(layer, self.folder, len(records))
            record |= {key: value + (spent or {}).get(key, 0) for key, value in cost.items()}
            write_manifest(self.folder, stack, [*records, record])
        return record

    def finished(self) -> list[Plain]:
        """The records of the layers that stack.json names; none where there is no such file yet."""
        records, plan = read_records(self.folder), self.config.plan()
        kinds = [record.get("kind") for record in records]
        if kinds != plan[: len(kinds)]:
            raise ConfigError(f"{self.folder / MANIFEST}: layers {kinds[:4]} … are not those of the plan {plan[:4]} …")
        return records

    def complete(self) -> Stack:
        """Train every layer of the plan that does not exist yet."""
        with self.held():
            records = self.finished()
            for kind in self.config.plan()[len(records) :]:
                if kind == "flow":
                    records.append(self.flow(records))
                else:
                    records.append(self.reject(records, *self.weigh(records)))
        return self.stack(records)
