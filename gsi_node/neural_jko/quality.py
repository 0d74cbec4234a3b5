"""What is said of samples: estimates of log Z, and the distance to the truth where that is known."""

from __future__ import annotations

import torch

from gsi_node.neural_jko.known import Mixture
from gsi_node.neural_jko.metrics import distance, log_z, log_z_lower, mode_weights
from gsi_node.neural_jko.pilot import Pilot
from gsi_node.neural_jko.rejection import Particles, log_z_error
from gsi_node.neural_jko.stack import Stack, StackLayer
from gsi_node.neural_jko.targets import KnownTarget, Target
from gsi_node.neural_jko.train import generator_for
from gsi_node.types import Plain

TOO_HIGH = 3.0  # standard errors


def measured(stack: Stack, target: Target, n: int, seed: int) -> Plain:
    """Of n fresh draws: `model_numbers` and `truth_numbers`."""
    depth = len(stack.layers)
    drawn = stack.sample(n, generator_for(seed, "measure", depth, stack.device), log_g=True)
    truth = truth_numbers(drawn.x.cpu(), target, generator_for(seed, "truth", depth))
    return {**model_numbers(drawn, stack.layers, target), **truth}


def model_numbers(drawn: Particles, layers: list[StackLayer], target: Target) -> Plain:
    """Both estimates of log Z with their standard errors, E α's part included, and what is doubtful about them."""
    log_w, error = drawn.log_weights(), log_z_error(layers)
    low, estimate = log_z_lower(log_w, error), log_z(log_w, error)
    numbers: Plain = {
        "samples": len(drawn),
        "log_z_lower": low.value,
        "log_z_lower_error": low.error,
        "log_z": estimate.value,
        "log_z_error": estimate.error,
        "log_weight_std": float(log_w.std()),
    }
    if isinstance(target, KnownTarget) and low.value - target.log_z > TOO_HIGH * low.error:
        numbers["warning"] = (
            f"E log w = {low.value:.4f} ± {low.error:.4f} lies above log Z = {target.log_z:g}, which no normalised "
            "density allows: the claimed log p is off"
        )
    return numbers


def truth_numbers(x: torch.Tensor, target: Target, generator: torch.Generator) -> Plain:
    """Distance to as many draws of the truth, and the modes' weights; empty where no truth is known."""
    numbers: Plain = {}
    if isinstance(target, KnownTarget):
        apart = distance(x, target.sample(len(x), generator))
        numbers |= {"energy_distance": apart.energy, "rho": apart.relative}
    if isinstance(target, Mixture):
        numbers["mode_weights"] = mode_weights(x, target.means)
    return numbers


def pilot_numbers(pilot: Pilot, n: int, target: Target, generator: torch.Generator) -> Plain:
    """The pilot as a sampler of its own: log Z, the effective number of its points, and its resample's distance."""
    truth = truth_numbers(pilot.points.resampled(n, generator), target, generator)
    ess = pilot.points.share * len(pilot.points)
    about = {"log_z": pilot.log_z, "ess": ess, "modes": len(pilot.modes), "evaluations": pilot.evaluations, **truth}
    return {f"pilot_{key}": value for key, value in about.items() if key != "mode_weights"}
