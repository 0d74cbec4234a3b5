"""A stack's files: stack.json names its layers, and is the one record of them; tensors lie beside it.

stack.json             the target (name, dim, log g at fixed points), and the layers, each with what it cost
frame.safetensors      the coordinates, the latent, and what a pilot found
NNN-flow.safetensors   a flow
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as as_bytes
from torch import Tensor

from gsi_node.errors import ConfigError
from gsi_node.host.files import read_object, write
from gsi_node.neural_jko.check import CheckedTarget
from gsi_node.neural_jko.flow import Flow
from gsi_node.neural_jko.frame import AffineFrame, round_frame
from gsi_node.neural_jko.identity import Claim, claim_of
from gsi_node.neural_jko.latent import GaussianMixture, Latent, NormalLatent
from gsi_node.neural_jko.pilot import Pilot, WeightedPoints
from gsi_node.neural_jko.rejection import Rejection
from gsi_node.neural_jko.stack import Stack, StackLayer
from gsi_node.neural_jko.targets import Target
from gsi_node.neural_jko.velocity import Velocity, VelocityShape
from gsi_node.types import Plain

FORMAT = 2
MANIFEST, FRAME = "stack.json", "frame.safetensors"
LATENT = ("log_weights", "centres", "factors")  # of a mixture, beside the frame


def save_layer(layer: StackLayer, folder: Path, index: int) -> Plain:
    """Write what a layer needs beside its JSON-plain record, and return the record."""
    if isinstance(layer, Rejection):
        return {"kind": "rejection", **asdict(layer)}
    name, network = f"{index:03d}-flow.safetensors", layer.velocity.network
    _write_tensors(folder / name, layer.velocity.state_dict())
    sizes = {key: getattr(network, key) for key in ("width", "depth", "activation", "gate", "own")}
    return {"kind": "flow", "file": name, **sizes, "steps": layer.steps, "ess": layer.ess}


def load_layer(record: Plain, folder: Path, dim: int, device: str | torch.device = "cpu") -> StackLayer:
    """The layer of a record. Raises ConfigError naming the record or file that is missing or broken."""
    try:
        if record["kind"] == "rejection":
            error, ess = float(record.get("error", 0.0)), float(record.get("ess", 0.0))
            return Rejection(float(record["log_c"]), float(record["accept_prob"]), error, ess)
        activation, gate, own = record.get("activation", "tanh"), int(record.get("gate", 0)), int(record.get("own", 0))
        sizes = int(record["width"]), int(record["depth"])
        network = VelocityShape(dim, *sizes, activation, gate, own=own)
        name, steps, ess = str(record["file"]), int(record["steps"]), float(record.get("ess", 0.0))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"{folder}: {str(record)[:80]} describes no layer ({error!r})") from error
    path = folder / name
    if path.parent != folder:
        raise ConfigError(f"{folder}: a flow lies in the folder of its stack, not at {name!r}")
    tensors = _read_tensors(path)
    try:
        velocity = Velocity(network)
        velocity.load_state_dict(tensors)
    except (RuntimeError, TypeError, OverflowError) as error:
        raise ConfigError(f"{path}: cannot be read as a flow of this stack: {error}") from error
    return Flow(velocity.to(device), steps, ess)


def save(stack: Stack, folder: Path) -> None:
    """The whole stack: its frame and latent, one safetensors file a flow, and stack.json."""
    save_base(stack.frame, stack.latent, folder)
    records = [save_layer(layer, folder, i) for i, layer in enumerate(stack.layers)]
    write_manifest(folder, stack.evaluate.target, records)


def write_manifest(folder: Path, target: Target, records: Sequence[Mapping[str, Any]]) -> None:
    about = {"format": FORMAT, "target": target.name, "dim": target.dim, **claim_of(target).plain()}
    write(folder / MANIFEST, json.dumps({**about, "layers": list(records)}, indent=1) + "\n")


def read_records(folder: Path) -> list[Plain]:
    """The records of the layers that stack.json names; none where there is no such file. Raises ConfigError."""
    about = read_object(folder / MANIFEST)
    return [] if about is None else _records(about, folder)


def load(folder: Path, target: Target, device: str | torch.device = "cpu") -> Stack:
    """A saved stack over its target. Raises ConfigError: nothing there, another format, another target or density."""
    path = folder / MANIFEST
    about = read_object(path)
    if about is None:
        raise ConfigError(f"{path}: there is no such file; name the folder of a saved stack")
    wanted = {"target": target.name, "dim": target.dim}
    there = {key: about.get(key) for key in wanted}
    if there != wanted or about.get("format") not in (1, FORMAT):
        found = f"{there} in format {about.get('format')}"
        raise ConfigError(f"{path}: written for {found}, asked for {wanted} in format {FORMAT}")
    if told := Claim.of(about).difference(claim_of(target)):
        raise ConfigError(f"{path}: written for another density of the name {target.name} ({told})")
    layers = [load_layer(record, folder, target.dim, device) for record in _records(about, folder)]
    frame, latent = _base_of(about, folder, target.dim)
    return Stack(CheckedTarget(target), layers, frame=frame, latent=latent, device=device)


def save_base(frame: AffineFrame, latent: Latent, folder: Path, pilot: Pilot | None = None) -> None:
    """The coordinates, the latent where it is not N(0, I) and, where a pilot found them, its points and numbers."""
    tensors = {"centre": frame.centre, "matrix": frame.matrix}
    if isinstance(latent, GaussianMixture):
        tensors |= {f"latent_{key}": getattr(latent, key) for key in LATENT}
    if pilot is not None:
        numbers = [pilot.reference, pilot.first_power, pilot.evaluations, pilot.latent_ess]
        tensors |= {"modes": pilot.modes, "numbers": torch.tensor(numbers, dtype=torch.float64)}
        tensors |= {"x": pilot.points.x, "log_g": pilot.points.log_g, "log_q": pilot.points.log_q}
    _write_tensors(folder / FRAME, tensors)


def load_base(folder: Path) -> tuple[AffineFrame, Latent]:
    """Raises ConfigError."""
    path, tensors = folder / FRAME, _read_tensors(folder / FRAME)
    try:
        frame = AffineFrame(tensors["centre"], tensors["matrix"])
        if f"latent_{LATENT[0]}" not in tensors:
            return frame, NormalLatent(frame.centre.numel())
        return frame, GaussianMixture(*(tensors[f"latent_{key}"] for key in LATENT))
    except KeyError as error:
        raise ConfigError(f"{path}: holds no frame ({error} is missing); name another folder") from error


def load_pilot(folder: Path) -> Pilot:
    """Raises ConfigError."""
    path, tensors = folder / FRAME, _read_tensors(folder / FRAME)
    try:
        reference, first_power, evaluations, latent_ess = tensors["numbers"].tolist()
        points = WeightedPoints(tensors["x"], tensors["log_g"], tensors["log_q"])
        return Pilot(
            *load_base(folder),
            latent_ess=latent_ess,
            modes=tensors["modes"],
            points=points,
            reference=reference,
            first_power=first_power,
            evaluations=int(evaluations),
        )
    except (KeyError, ValueError) as error:
        raise ConfigError(f"{path}: not what a pilot wrote ({error!r}); name another folder") from error


def _base_of(about: Plain, folder: Path, dim: int) -> tuple[AffineFrame, Latent]:
    if about["format"] == FORMAT:
        return load_base(folder)
    if any(about.get("latent_mean", [1.0])) or about.get("latent_scale") != 1.0:
        raise ConfigError(
            f"{folder / MANIFEST}: format 1 with a latent of its own, for flows in other coordinates; train anew"
        )
    return round_frame(dim), NormalLatent(dim)


def _records(about: Plain, folder: Path) -> list[Plain]:
    layers = about.get("layers")
    if not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
        raise ConfigError(f"{folder / MANIFEST}: names no list of layers; name another folder")
    return layers


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    write(path, as_bytes({key: value.contiguous().cpu() for key, value in tensors.items()}))


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, RuntimeError, TypeError, OverflowError, SafetensorError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
