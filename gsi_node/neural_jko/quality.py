"""What is said of samples: estimates of log Z, and the distance to the truth where that is known."""

from __future__ import annotations

import torch

from gsi_node.neural_jko.known import Mixture
from gsi_node.neural_jko.metrics import distance, forward_kl, log_z, log_z_lower, mode_weights, reverse_kl
from gsi_node.neural_jko.pilot import Pilot
from gsi_node.neural_jko.rejection import Particles, log_z_error
from gsi_node.neural_jko.stack import Stack, StackLayer
from gsi_node.neural_jko.targets import KnownTarget, Target
from gsi_node.neural_jko.train import generator_for
from gsi_node.types import Plain

TOO_HIGH = 3.0  # standard errors
TOO_FAR = 0.02  # nats of KL(p ‖ target): beyond, E log w cannot be within the aim of .02 of log Z
TAIL = 0.999  # quantile of x₁ that is looked at: the mouth of a funnel


def measured(stack: Stack, target: Target, n: int, seed: int) -> Plain:
    """Of n fresh draws: `model_numbers`, `truth_numbers`; of as many of the truth: `coverage_numbers`."""
    depth = len(stack.layers)
    drawn = stack.sample(n, generator_for(seed, "measure", depth, stack.device), log_g=True)
    truth = truth_numbers(drawn.x.cpu(), target, generator_for(seed, "truth", depth))
    covered = coverage_numbers(stack, target, n, generator_for(seed, "coverage", depth))
    return {**model_numbers(drawn, stack.layers, target), **truth, **covered}


def model_numbers(drawn: Particles, layers: list[StackLayer], target: Target) -> Plain:
    """Both estimates of log Z with their standard errors, E α's part included, KL(p ‖ target), and what is doubtful."""
    log_w, error = drawn.log_weights(), log_z_error(layers)
    low, estimate, apart = log_z_lower(log_w, error), log_z(log_w, error), reverse_kl(log_w)
    numbers: Plain = {
        "samples": len(drawn),
        "log_z_lower": low.value,
        "log_z_lower_error": low.error,
        "log_z": estimate.value,
        "log_z_error": estimate.error,
        "kl": apart.value,
        "kl_error": apart.error,
        "log_weight_std": float(log_w.std()),
    }
    doubts = []
    if isinstance(target, KnownTarget) and low.value - target.log_z > TOO_HIGH * low.error:
        doubts.append(
            f"E log w = {low.value:.4f} ± {low.error:.4f} lies above log Z = {target.log_z:g}, which no normalised "
            "density allows: the claimed log p is off"
        )
    if apart.value > TOO_FAR:
        doubts.append(
            f"KL(p ‖ target) = log E w − E log w = {apart.value:.4f} ± {apart.error:.4f} is above {TOO_FAR:g}: the "
            "samples may be off by more than noise; give it more rounds, blocks or pilot_evaluations"
        )
    return {**numbers, "warning": "; ".join(doubts)} if doubts else numbers


def truth_numbers(x: torch.Tensor, target: Target, generator: torch.Generator) -> Plain:
    """Distance to as many draws of the truth, the tail of x₁ in both, and the modes' weights; empty without a truth."""
    numbers: Plain = {}
    if isinstance(target, KnownTarget):
        y = target.sample(len(x), generator)
        apart = distance(x, y)
        numbers |= {"energy_distance": apart.energy, "rho": apart.relative}
        numbers |= {"x1_tail": float(x[:, 0].quantile(TAIL)), "x1_tail_truth": float(y[:, 0].quantile(TAIL))}
    if isinstance(target, Mixture):
        numbers["mode_weights"] = mode_weights(x, target.means)
    return numbers


def coverage_numbers(stack: Stack, target: Target, n: int, generator: torch.Generator) -> Plain:
    """KL(target ‖ p) over n draws of the truth, with its standard error; empty where no truth is known."""
    if not isinstance(target, KnownTarget):
        return {}
    y = target.sample(n, generator)
    log_ratio = target.log_density(y) - target.log_z - stack.log_prob(y).cpu()
    apart = forward_kl(log_ratio.numpy(), log_z_error(stack.layers))
    return {"forward_kl": apart.value, "forward_kl_error": apart.error}


def pilot_numbers(pilot: Pilot, n: int, target: Target, generator: torch.Generator) -> Plain:
    """The pilot as a sampler of its own: log Z, the effective number of its points, and its resample's distance."""
    truth = truth_numbers(pilot.points.resampled(n, generator), target, generator)
    ess = pilot.points.share * len(pilot.points)
    about = {"log_z": pilot.log_z, "ess": ess, "modes": len(pilot.modes), "evaluations": pilot.evaluations, **truth}
    return {f"pilot_{key}": value for key, value in about.items() if key not in ("mode_weights", "x1_tail_truth")}
