"""The losses of a layer's fits, as a small file beside the layer: NNN-losses.json."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from gsi_node.errors import ConfigError
from gsi_node.host.files import read_object, write
from gsi_node.neural_jko.train import OnProgress, silent

POINTS = 500  # of all fits of a layer together, at most


@dataclass(frozen=True, slots=True)
class LossCurve:
    """loss: means over `every` consecutive steps of a fit of `steps`; the last may be over fewer."""

    steps: int
    every: int
    loss: list[float]


_ADAPTER = TypeAdapter(dict[str, LossCurve])


class LossRecord:
    """Told of every training step of a layer, it keeps the losses by what was fitted, and tells another."""

    def __init__(self, told: OnProgress = silent) -> None:
        self.fits: dict[str, list[float]] = {}
        self.told = told

    def __call__(self, what: str, done: int, total: int, loss: float) -> None:
        self.fits.setdefault(what, []).append(loss)
        self.told(what, done, total, loss)

    def curves(self) -> dict[str, LossCurve]:
        every = math.ceil(sum(map(len, self.fits.values())) / max(1, POINTS - len(self.fits)))
        return {what: LossCurve(len(losses), every, _means(losses, every)) for what, losses in self.fits.items()}

    def save(self, folder: Path, index: int) -> None:
        """Write the file of layer `index`; none where nothing was fitted."""
        if self.fits:
            write(_path(folder, index), json.dumps({what: asdict(curve) for what, curve in self.curves().items()}))


def read_losses(folder: Path, index: int) -> dict[str, LossCurve]:
    """The curves of layer `index`; none where no losses were kept. Raises ConfigError for a file of another kind."""
    path = _path(folder, index)
    try:
        return _ADAPTER.validate_python(read_object(path) or {})
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise ConfigError(f"{path}: holds no losses ({where}: {error.errors()[0]['msg']}); remove it") from error


def _means(values: list[float], every: int) -> list[float]:
    parts = [values[i : i + every] for i in range(0, len(values), every)]
    return [float(f"{math.fsum(part) / len(part):.6g}") for part in parts]


def _path(folder: Path, index: int) -> Path:
    return folder / f"{index:03d}-losses.json"
