"""The settings that a command line asks for."""

from __future__ import annotations

from gsi_node.cli.solver_options import DEFAULTS, SolverArguments
from gsi_node.step.config import GSIConfig
from gsi_node.step.layers import Layer, gathered, read_fields, validated


def settings(arguments: SolverArguments) -> GSIConfig:
    """The configuration: --set over named options over --config over DEFAULTS. Raises ConfigError, one line."""
    layers: list[Layer] = [("default", DEFAULTS)]
    if arguments.config is not None:
        layers.append((arguments.config, read_fields(arguments.config)))
    layers += [("option", arguments.named), ("--set", arguments.sets)]
    return validated(gathered(layers))
