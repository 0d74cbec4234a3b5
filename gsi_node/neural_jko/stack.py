"""The model: a Gaussian latent and a stack of flows and rejection layers. Samples, and evaluates its own density."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gsi_node.errors import ConfigError
from gsi_node.neural_jko.check import Evaluator
from gsi_node.neural_jko.flow import Flow, Velocity
from gsi_node.neural_jko.rejection import Particles, Rejection, joined
from gsi_node.neural_jko.targets import Target

Layer = Flow | Rejection
FORMAT = 1
MANIFEST = "stack.json"


class Stack:
    """latent N(mean, scale² I), then `layers` in order. evaluate: the target's log g, counted and checked.

    mean: one number for every coordinate, or `dim` of them.
    """

    def __init__(
        self,
        evaluate: Evaluator,
        layers: Sequence[Layer] = (),
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


def save_layer(layer: Layer, folder: Path, index: int) -> dict[str, Any]:
    """Write what a layer needs beside its JSON-plain record, and return the record."""
    if isinstance(layer, Rejection):
        return {"kind": "rejection", "log_c": layer.log_c, "accept_prob": layer.accept_prob}
    velocity = layer.velocity
    name = f"{index:03d}-flow.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {key: value.contiguous().cpu() for key, value in velocity.state_dict().items()}, folder / (name + ".part")
    )
    os.replace(folder / (name + ".part"), folder / name)
    shape = {"width": velocity.linears[0].out_features, "depth": len(velocity.linears) - 1}
    return {"kind": "flow", "file": name, **shape, "steps": layer.steps, "solver": layer.solver}


def load_layer(record: dict[str, Any], folder: Path, dim: int, device: str | torch.device = "cpu") -> Layer:
    """The layer of a record. Raises ConfigError naming the file that is missing or broken."""
    if record["kind"] == "rejection":
        return Rejection(record["log_c"], record["accept_prob"])
    velocity = Velocity(dim, record["width"], record["depth"])
    path = folder / record["file"]
    try:
        velocity.load_state_dict(load_file(path))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise ConfigError(f"{path}: cannot be read as a flow of this stack: {error}") from error
    return Flow(velocity.to(device), record["steps"], record["solver"])


def save(stack: Stack, folder: Path) -> None:
    """The whole stack: one safetensors file a flow, and stack.json."""
    records = [save_layer(layer, folder, i) for i, layer in enumerate(stack.layers)]
    write_manifest(folder, stack, records)


def write_manifest(folder: Path, stack: Stack, records: Sequence[dict[str, Any]]) -> None:
    about = {"format": FORMAT, "target": stack.evaluate.target.name, "dim": stack.dim}
    latent = {"latent_mean": stack.mean.tolist(), "latent_scale": stack.scale}
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**about, **latent, "layers": list(records)}, indent=1) + "\n"
    replace_text(folder / MANIFEST, text)


def replace_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, "utf-8")
    os.replace(part, path)


def load(folder: Path, target: Target, device: str | torch.device = "cpu") -> Stack:
    """A saved stack over its target. Raises ConfigError: nothing there, another format, another target."""
    path = folder / MANIFEST
    try:
        about = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    wanted = {"format": FORMAT, "target": target.name, "dim": target.dim}
    found = {key: about.get(key) for key in wanted}
    if found != wanted:
        raise ConfigError(f"{path}: written for {found}, asked for {wanted}")
    layers = [load_layer(record, folder, target.dim, device) for record in about["layers"]]
    where = {"mean": about["latent_mean"], "scale": about["latent_scale"]}
    return Stack(Evaluator(target), layers, device=device, **where)
