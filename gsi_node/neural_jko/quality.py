"""What is told of a stack: estimates of log Z on fresh draws and, where the truth is known, the distance to it."""

from __future__ import annotations

from gsi_node.neural_jko.metrics import energy_distance, log_z, log_z_lower, mode_weights
from gsi_node.neural_jko.stack import Stack
from gsi_node.neural_jko.targets import KnownTarget, Mixture, Target
from gsi_node.neural_jko.train import generator_for
from gsi_node.types import Plain


def measured(stack: Stack, target: Target, n: int, seed: int) -> Plain:
    """log Z (lower bound, estimate) and the claimed log-weights' spread; where known, distance to the truth, modes."""
    index = len(stack.layers)
    particles = stack.sample(n, generator_for(seed, "measure", index, stack.device), log_g=True)
    log_w = particles.log_weights()
    low, estimate = log_z_lower(log_w), log_z(log_w)
    numbers: Plain = {
        "samples": n,
        "log_z_lower": low.value,
        "log_z": estimate.value,
        "log_z_error": estimate.error,
        "log_weight_std": float(log_w.std()),
    }
    if isinstance(target, KnownTarget):
        truth = target.sample(n, generator_for(seed, "truth", index))
        numbers["energy_distance"] = energy_distance(particles.x.cpu(), truth)
    if isinstance(target, Mixture):
        numbers["mode_weights"] = mode_weights(particles.x.cpu(), target.means)
    return numbers
