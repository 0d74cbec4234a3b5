"""Importance-corrected neural JKO sampling (arXiv 2407.20444): flows as JKO steps, rejection–resampling between.

targets → config → pilot (coordinates, points) → start, train (a layer a time) → stack (samples, evaluates its density);
run keeps all in a folder, saved writes and reads it.

    stack = Run(OwnTarget(log_density, dim=3), JKOConfig(), Path("DIR")).complete()
    particles = stack.sample(1000, torch.Generator().manual_seed(0))        # particles.x, particles.log_prob
"""

from gsi_node.neural_jko.config import JKOConfig
from gsi_node.neural_jko.density import named_density
from gsi_node.neural_jko.metrics import relative_noise
from gsi_node.neural_jko.presets import PRESETS, configured
from gsi_node.neural_jko.quality import measured, pilot_numbers
from gsi_node.neural_jko.run import Run
from gsi_node.neural_jko.saved import load, save
from gsi_node.neural_jko.stack import Stack
from gsi_node.neural_jko.targets import TARGETS, KnownTarget, OwnTarget, Target, named
from gsi_node.neural_jko.train import generator_for

__all__ = [
    "PRESETS",
    "TARGETS",
    "JKOConfig",
    "KnownTarget",
    "OwnTarget",
    "Run",
    "Stack",
    "Target",
    "configured",
    "generator_for",
    "load",
    "measured",
    "named",
    "named_density",
    "pilot_numbers",
    "relative_noise",
    "save",
]
