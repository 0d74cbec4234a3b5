"""Importance-corrected neural JKO sampling (arXiv 2407.20444): flows as JKO steps, rejection–resampling between.

targets → config → train (a stage a layer) → stack (samples, evaluates its density, saves); run keeps all in a folder.

    stack = Run(OwnTarget(log_density, dim=3), JKOConfig(), Path("DIR")).complete()
    particles = stack.sample(1000, torch.Generator().manual_seed(0))        # particles.x, particles.log_prob
"""

from gsi_node.neural_jko.config import PRESETS, JKOConfig, configured
from gsi_node.neural_jko.metrics import sampling_floor
from gsi_node.neural_jko.quality import measured
from gsi_node.neural_jko.run import Run
from gsi_node.neural_jko.stack import Stack, load, save
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
    "sampling_floor",
    "save",
]
