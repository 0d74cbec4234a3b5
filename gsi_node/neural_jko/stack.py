"""The model: a latent and a stack of flows and rejection layers. Samples, and evaluates its own density."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gsi_node.cancel import check_cancelled
from gsi_node.neural_jko.check import CheckedTarget
from gsi_node.neural_jko.flow import Flow
from gsi_node.neural_jko.frame import AffineFrame, round_frame
from gsi_node.neural_jko.latent import Latent, NormalLatent
from gsi_node.neural_jko.rejection import Particles, Rejection, joined

StackLayer = Flow | Rejection


class Stack:
    """A latent in the frame's coordinates z, then `layers` in order. evaluate: log g, counted and checked.

    frame: the round one of N(0, I) in x where none is given. latent: N(0, I) where none is given.
    """

    def __init__(
        self,
        evaluate: CheckedTarget,
        layers: Sequence[StackLayer] = (),
        *,
        frame: AffineFrame | None = None,
        latent: Latent | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        self.evaluate = evaluate
        self.layers = list(layers)
        self.dim = evaluate.target.dim
        self.device = torch.device(device)
        self.frame = (frame or round_frame(self.dim)).on(self.device)
        self.latent = (latent or NormalLatent(self.dim)).on(self.device)
        self.log_volume = self.frame.log_volume

    def log_g(self, z: Tensor) -> Tensor:
        """The target's log-density in z, float64 (n,): differentiable, counted and checked."""
        return self.evaluate(self.frame.to_x(z)).double() + self.log_volume

    def sample(self, n: int, generator: torch.Generator, *, log_g: bool = False) -> Particles:
        """n independent draws x, float64, with their log-density; log_g: with the target's values too."""
        drawn = self.draw(n, generator, log_g=log_g)
        values = None if drawn.log_g is None else drawn.log_g - self.log_volume
        return Particles(self.frame.to_x(drawn.x), drawn.log_prob - self.log_volume, values)

    @torch.no_grad()
    def draw(self, n: int, generator: torch.Generator, *, log_g: bool = False) -> Particles:
        """As `sample`, everything in the coordinates z; float32 points."""
        particles = self._draw(n, len(self.layers), generator)
        return self._valued(particles) if log_g else particles

    def _draw(self, n: int, depth: int, generator: torch.Generator) -> Particles:
        """Draws of the first `depth` layers. No particle is used twice.

        Replacements come out of a surplus of independent draws made together with the particles themselves: a layer
        that refuses a share ρ needs about (1 + ρ) n draws of what lies below it.
        """
        counts = [n]
        for layer in reversed(self.layers[:depth]):
            counts.append(counts[-1] + (_surplus(counts[-1], layer) if isinstance(layer, Rejection) else 0))
        counts.reverse()
        z = self.latent.draw(counts[0], generator)
        particles = Particles(z, self.latent.log_prob(z))
        for i, layer in enumerate(self.layers[:depth]):
            check_cancelled()
            if isinstance(layer, Flow):
                z, log_det = layer(particles.x)
                particles = Particles(z, particles.log_prob - log_det)
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
            more, _ = layer.updated(self._valued(self._draw(missing, depth, generator)))
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
        points, log_dets = [self.frame.to_z(x).float()], []
        for layer in reversed(self.layers):
            if isinstance(layer, Flow):
                start, log_det = layer(points[-1], backward=True)
                points.append(start)
                log_dets.append(log_det)
        particles = Particles(points[-1], self.latent.log_prob(points[-1]))
        for layer in self.layers:
            if isinstance(layer, Flow):
                points.pop()
                particles = Particles(points[-1], particles.log_prob - log_dets.pop())
            else:
                particles, _ = layer.updated(self._valued(particles))
        return particles.log_prob - self.log_volume

    def _valued(self, particles: Particles) -> Particles:
        if particles.log_g is not None:
            return particles
        return Particles(particles.x, particles.log_prob, self.log_g(particles.x))


def _surplus(n: int, layer: Rejection) -> int:
    """Replacements to hold ready: the expected number and five standard deviations."""
    rate = min(1.0, max(0.0, 1.0 - layer.accept_prob))
    return math.ceil(n * rate + 5.0 * math.sqrt(n * rate * (1.0 - rate)) + 1.0) if rate > 0.0 else 0
