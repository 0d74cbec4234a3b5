"""A training run in a folder: the stages of `train` one layer after another, written as they are finished.

config.json            the settings and the target; the same run goes on, another is refused
stack.json             the layers that exist, and what each cost
NNN-flow.safetensors   a flow
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from gsi_node.errors import ConfigError, ResumeMismatch
from gsi_node.neural_jko import train
from gsi_node.neural_jko.config import JKOConfig
from gsi_node.neural_jko.stack import MANIFEST, Layer, Stack, load_layer, replace_text, save_layer, write_manifest
from gsi_node.neural_jko.targets import Target

Record = dict[str, Any]
T = TypeVar("T")


class Run:
    """A target, settings and a folder. Stages take the records of the layers below, and return that of the new one."""

    def __init__(
        self, target: Target, config: JKOConfig, folder: Path, *, device: str = "cpu", told: train.Told = train.silent
    ) -> None:
        self.target, self.config, self.folder, self.device, self.told = target, config, folder, device, told
        self._stack: tuple[list[Record], Stack] | None = None
        self._claim()

    def _claim(self) -> None:
        """Write config.json, or compare with the one that is there. Raises ResumeMismatch naming the keys."""
        mine = {"target": self.target.name, "dim": self.target.dim, **self.config.model_dump(mode="json")}
        path = self.folder / "config.json"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            found = json.loads(path.read_text("utf-8")) if path.exists() else None
            if found is None:
                replace_text(path, json.dumps(mine, indent=1) + "\n")
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: {error}") from error
        if found is not None and found != mine:
            keys = sorted(key for key in {*found, *mine} if found.get(key) != mine.get(key))
            told = ", ".join(f"{key} {found.get(key)!r} → {mine.get(key)!r}" for key in keys)
            raise ResumeMismatch(f"{path}: a run with other settings ({told}); name another folder, or those settings")

    def stack(self, records: list[Record]) -> Stack:
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

    def flow(self, records: list[Record]) -> Record:
        """Train the next flow."""
        return self._timed(records, lambda stack: train.fit_flow(stack, self.config, self.told))

    def weigh(self, records: list[Record]) -> tuple[float, Record]:
        """log c for the next rejection layer, and what it cost to find."""
        return self._costed(self.stack(records), lambda stack: train.weigh(stack, self.config))

    def reject(self, records: list[Record], log_c: float, spent: Record) -> Record:
        """The next rejection layer; `spent` is what weighing cost."""
        return self._timed(records, lambda stack: train.reject(stack, self.config, log_c), spent)

    def _costed(self, stack: Stack, make: Callable[[Stack], T]) -> tuple[T, Record]:
        start, used, before = time.perf_counter(), time.process_time(), stack.evaluate.count
        made = make(stack)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - used
        return made, {"seconds": seconds, "cpu_seconds": cpu_seconds, "evaluations": stack.evaluate.count - before}

    def _timed(self, records: list[Record], make: Callable[[Stack], Layer], spent: Record | None = None) -> Record:
        """Make a layer, write it, and return its record with its cost."""
        stack = self.stack(records)
        layer, cost = self._costed(stack, make)
        record = save_layer(layer, self.folder, len(records))
        record |= {key: value + (spent or {}).get(key, 0) for key, value in cost.items()}
        write_manifest(self.folder, stack, [*records, record])
        return record

    def finished(self) -> list[Record]:
        """The records of the layers that stack.json names; none where there is no such file yet."""
        path = self.folder / MANIFEST
        try:
            return list(json.loads(path.read_text("utf-8"))["layers"]) if path.exists() else []
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(f"{path}: cannot be read: {error}") from error

    def complete(self) -> Stack:
        """Train every layer of the plan that does not exist yet."""
        records = self.finished()
        for kind in self.config.plan()[len(records) :]:
            if kind == "flow":
                records.append(self.flow(records))
            else:
                records.append(self.reject(records, *self.weigh(records)))
        return self.stack(records)
