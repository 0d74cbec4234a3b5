"""The model: a Gaussian latent and a stack of flows and rejection layers. Samples, and evaluates its own density."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as as_bytes
from torch import Tensor

from gsi_node.cancel import check_cancelled
from gsi_node.errors import ConfigError
from gsi_node.host.files import read_object, write
from gsi_node.neural_jko.check import CheckedTarget
from gsi_node.neural_jko.flow import Flow, OdeSolver, Velocity
from gsi_node.neural_jko.identity import DENSITY, density_of, first_difference
from gsi_node.neural_jko.rejection import Particles, Rejection, joined
from gsi_node.neural_jko.targets import Target
from gsi_node.types import Plain

StackLayer = Flow | Rejection
FORMAT = 1
MANIFEST = "stack.json"
SOLVERS: dict[str, OdeSolver] = {"rk4": "rk4", "dopri5": "dopri5"}


class Stack:
    """latent N(mean, scale² I), then `layers` in order. evaluate: the target's log g, counted and checked.

    mean: one number for every coordinate, or `dim` of them.
    """

    def __init__(
        self,
        evaluate: CheckedTarget,
        layers: Sequence[StackLayer] = (),
        *,
        mean: float | Sequence[float] = 0.0,
        scale: float = 1.0,
        device: str | torch.device = "cpu",
    ) -> None:
        self.evaluate = evaluate
        self.layers = list(layers)
        self.dim = evaluate.target.dim
        self.device = torch.device(device)
        given = torch.as_tensor(mean, dtype=torch.float32, device=self.device)
        if given.numel() not in (1, self.dim):
            raise ConfigError(f"latent_mean: want one number or {self.dim}, got {given.numel()}")
        self.mean = given.expand(self.dim).contiguous()
        self.scale = float(scale)

    def latent_log_prob(self, x: Tensor) -> Tensor:
        """log N(x; mean, scale² I), float64 (n,)."""
        z = (x.double() - self.mean.double()) / self.scale
        return -0.5 * z.square().sum(1) - self.dim * math.log(self.scale * math.sqrt(2 * math.pi))

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator, *, log_g: bool = False) -> Particles:
        """n independent draws with their log-density; log_g: with the target's values too."""
        particles = self._sample(n, len(self.layers), generator)
        return self._valued(particles) if log_g else particles

    def _sample(self, n: int, depth: int, generator: torch.Generator) -> Particles:
        """Draws of the first `depth` layers. No particle is used twice.

        Replacements come out of a surplus of independent draws made together with the particles themselves: a layer
        that refuses a share ρ needs about (1 + ρ) n draws of what lies below it.
        """
        counts = [n]
        for layer in reversed(self.layers[:depth]):
            counts.append(counts[-1] + (_surplus(counts[-1], layer) if isinstance(layer, Rejection) else 0))
        counts.reverse()
        noise = torch.randn((counts[0], self.dim), generator=generator, device=self.device)
        x = self.mean + self.scale * noise
        particles = Particles(x, self.latent_log_prob(x))
        for i, layer in enumerate(self.layers[:depth]):
            check_cancelled()
            if isinstance(layer, Flow):
                x, log_det = layer(particles.x)
                particles = Particles(x, particles.log_prob - log_det)
            else:
                particles = self._resampled(layer, self._valued(particles), counts[i + 1], i, generator)
        return particles

    def _resampled(
        self, layer: Rejection, drawn: Particles, n: int, depth: int, generator: torch.Generator
    ) -> Particles:
        """The first n of `drawn`, the refused ones replaced by the draws after them."""
        uniforms = torch.rand(n, generator=generator, device=self.device, dtype=torch.float64).cpu().numpy()
        updated, log_accept = layer.updated(drawn)
        refused = torch.from_numpy(layer.refused(log_accept[:n], uniforms)).to(self.device)
        missing = n + len(refused) - len(drawn)
        if missing > 0:
            more, _ = layer.updated(self._valued(self._sample(missing, depth, generator)))
            updated = joined(updated, more)
        order = torch.arange(n, device=self.device)
        order[refused] = torch.arange(n, n + len(refused), device=self.device)
        return updated[order]

    @torch.no_grad()
    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) of the whole stack at points (n, dim), float64 (n,), nats.

        Points are carried back through the flows to the latent; the density is then built up layer by layer, since a
        rejection layer's factor needs the density below it.
        """
        points, log_dets = [x.to(self.device, torch.float32)], []
        for layer in reversed(self.layers):
            if isinstance(layer, Flow):
                start, log_det = layer(points[-1], backward=True)
                points.append(start)
                log_dets.append(log_det)
        particles = Particles(points[-1], self.latent_log_prob(points[-1]))
        for layer in self.layers:
            if isinstance(layer, Flow):
                points.pop()
                particles = Particles(points[-1], particles.log_prob - log_dets.pop())
            else:
                particles, _ = layer.updated(self._valued(particles))
        return particles.log_prob

    def _valued(self, particles: Particles) -> Particles:
        if particles.log_g is not None:
            return particles
        return Particles(particles.x, particles.log_prob, self.evaluate(particles.x.double()).double())


def _surplus(n: int, layer: Rejection) -> int:
    """Replacements to hold ready: the expected number and five standard deviations."""
    rate = min(1.0, max(0.0, 1.0 - layer.accept_prob))
    return math.ceil(n * rate + 5.0 * math.sqrt(n * rate * (1.0 - rate)) + 1.0) if rate > 0.0 else 0


def save_layer(layer: StackLayer, folder: Path, index: int) -> Plain:
    """Write what a layer needs beside its JSON-plain record, and return the record."""
    if isinstance(layer, Rejection):
        return {"kind": "rejection", "log_c": layer.log_c, "accept_prob": layer.accept_prob}
    velocity = layer.velocity
    name = f"{index:03d}-flow.safetensors"
    write(folder / name, as_bytes({key: value.contiguous().cpu() for key, value in velocity.state_dict().items()}))
    shape = {"width": velocity.linears[0].out_features, "depth": len(velocity.linears) - 1}
    return {"kind": "flow", "file": name, **shape, "steps": layer.steps, "solver": layer.solver}


def load_layer(record: Plain, folder: Path, dim: int, device: str | torch.device = "cpu") -> StackLayer:
    """The layer of a record. Raises ConfigError naming the record or file that is missing or broken."""
    try:
        if record["kind"] == "rejection":
            return Rejection(float(record["log_c"]), float(record["accept_prob"]))
        name, shape = str(record["file"]), (int(record["width"]), int(record["depth"]))
        steps, solver = int(record["steps"]), SOLVERS[record["solver"]]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"{folder}: {str(record)[:80]} describes no layer ({error!r})") from error
    path = folder / name
    if path.parent != folder:
        raise ConfigError(f"{folder}: a flow lies in the folder of its stack, not at {name!r}")
    try:
        velocity = Velocity(dim, *shape)
        velocity.load_state_dict(load_file(path))
    except (OSError, RuntimeError, TypeError, OverflowError, SafetensorError) as error:
        raise ConfigError(f"{path}: cannot be read as a flow of this stack: {error}") from error
    return Flow(velocity.to(device), steps, solver)


def save(stack: Stack, folder: Path) -> None:
    """The whole stack: one safetensors file a flow, and stack.json."""
    records = [save_layer(layer, folder, i) for i, layer in enumerate(stack.layers)]
    write_manifest(folder, stack, records)


def write_manifest(folder: Path, stack: Stack, records: Sequence[Plain]) -> None:
    """stack.json: what the stack is over (target, dim, log g at fixed points), its latent, and the layers."""
    target, latent = stack.evaluate.target, {"latent_mean": stack.mean.tolist(), "latent_scale": stack.scale}
    density = density_of(target, stack.mean.tolist(), stack.scale)
    about = {"format": FORMAT, "target": target.name, "dim": stack.dim, DENSITY: density}
    write(folder / MANIFEST, json.dumps({**about, **latent, "layers": list(records)}, indent=1) + "\n")


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
    wanted = {"format": FORMAT, "target": target.name, "dim": target.dim}
    found = {key: about.get(key) for key in wanted}
    if found != wanted:
        raise ConfigError(f"{path}: written for {found}, asked for {wanted}")
    try:
        mean, scale = [float(m) for m in about["latent_mean"]], float(about["latent_scale"])
        kept = about.get(DENSITY)  # 0.1.0 did not write it
        at = None if kept is None else first_difference(kept, density_of(target, mean, scale))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path}: its latent cannot be read ({error!r})") from error
    if at is not None:
        raise ConfigError(
            f"{path}: written for another density of the name {target.name} (log g differs at probe {at})"
        )
    layers = [load_layer(record, folder, target.dim, device) for record in _records(about, folder)]
    return Stack(CheckedTarget(target), layers, mean=mean, scale=scale, device=device)


def _records(about: Plain, folder: Path) -> list[Plain]:
    layers = about.get("layers")
    if not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
        raise ConfigError(f"{folder / MANIFEST}: names no list of layers; name another folder")
    return layers
