"""Plain by name: `cpu`, the defaults, and `paper`, those of arXiv 2407.20444."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from gsi_node.errors import ConfigError
from gsi_node.neural_jko.config import JKOConfig
from gsi_node.types import Plain


def configured(preset: str, target: str, changes: Mapping[str, Any] | None = None) -> JKOConfig:
    """A preset, with changes. Raises ConfigError naming what is unknown or out of range.

    target: a name that the preset `paper` has a setting of its own for, or another; `cpu` is the same for all.
    """
    if preset not in PRESETS:
        raise ConfigError(f"preset {preset!r}: there is none of that name; known are {', '.join(PRESETS)}")
    try:
        return JKOConfig.model_validate({**PRESETS[preset](target), **(changes or {})})
    except ValidationError as error:
        told = "; ".join(_mistake(".".join(map(str, e["loc"])), e["msg"]) for e in error.errors())
        raise ConfigError(f"settings of neural JKO: {told}") from None


def _mistake(where: str, message: str) -> str:
    """where: empty for what several settings are together."""
    return f"{where}: {message}" if where else message.removeprefix("Value error, ")


_PAPER: Plain = {
    "coordinates": "latent",
    "likelihood_steps": 0,
    "rounds": 0,
    "tempered": 0.0,
    "proposal_ess": 1.0,
    "tau": 0.01,
    "tau_growth": 4.0,
    "flows_first": 4,
    "first_rejections": 0,
    "blocks": 6,
    "enough_ess": None,
    "wanted_ess": None,
    "width": 54,
    "depth": 3,
    "activation": "tanh",
    "gate": 0,
    "gain": 1.0,
    "divergence": "probes",
    "solver": "dopri5",
    "step_jitter": 0,
    "particles": 50_000,
    "batch_size": 5000,
    "steps": 5000,
    "optimizer": "adam",
    "learning_rate": 5e-3,
    "final_learning_rate": 5e-3 * 0.95**50,
    "ode_steps": 20,
    "calibration": 50_000,
    "weighing": 50_000,
    "log_z_error": None,
}

_PAPER_OF: dict[str, Plain] = {
    "8modes": {"tau": 0.05, "flows_first": 2, "blocks": 4},
    "8peaky": {"flows_first": 2, "blocks": 4},
    "mustache": {"tau": 0.05, "flows_first": 6},
    "funnel": {
        "tau": 5.0,
        "width": 256,
        "steps": 10_000,
        "particles": 200_000,
        "final_learning_rate": 5e-3 * 0.98**100,
    },
}


def _paper(target: str) -> Plain:
    return {**_PAPER, **(_paper_gmm(target) if target.removeprefix("gmm").isdecimal() else _PAPER_OF.get(target, {}))}


def _paper_gmm(target: str) -> Plain:
    dim = int(target.removeprefix("gmm"))
    wide = {"width": 512, "tau": 0.001, "flows_first": 5, "learning_rate": 1e-3, "batch_size": 2000}
    wide["final_learning_rate"] = 1e-3 * 0.95**50
    blocks = 6 if dim < 50 else 7 if dim < 200 else 8
    common = {"tau": 0.0025, "tau_growth": 2.0, "width": 2 * dim + 50, "blocks": blocks}
    return {**common, **(wide if dim >= 200 else {})}


PRESETS: dict[str, Callable[[str], Plain]] = {"cpu": lambda target: {}, "paper": _paper}
