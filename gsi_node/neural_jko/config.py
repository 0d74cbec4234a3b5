"""Every setting of neural JKO sampling; unknown names are refused. The defaults suit a 2-D target on one CPU core."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gsi_node.errors import ConfigError
from gsi_node.types import Plain

FEW, WIDEST, MANY = 1000, 100_000, 100_000_000  # beyond these a number is a slip


class JKOConfig(BaseModel):
    """The stack is `flows_first` flows, then `blocks` times (one flow, `rejections` rejection layers).

    Flow k minimises E[−log g(z(1)) + ω/τ_k − ℓ + log p(z(0))] with τ_k = tau · tau_growth^k (arXiv 2407.20444).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    tau: float = Field(default=0.1, gt=0)
    tau_growth: float = Field(default=10.0, gt=0)
    flows_first: int = Field(default=1, ge=0, le=FEW)
    blocks: int = Field(default=4, ge=0, le=FEW)
    rejections: int = Field(default=3, ge=0, le=FEW)
    rejection_rate: float = Field(default=0.2, gt=0, lt=1)
    width: int = Field(default=128, ge=1, le=WIDEST)
    depth: int = Field(default=2, ge=1, le=FEW)
    gain: float = Field(default=3.0, gt=0)  # of the network's first layer at the start
    divergence: Literal["exact", "probes"] = "exact"  # while training; densities are always evaluated exactly
    probes: int = Field(default=1, ge=1, le=MANY)
    solver: Literal["rk4", "dopri5"] = "rk4"
    train_ode_steps: int = Field(default=4, ge=1, le=MANY)
    ode_steps: int = Field(default=5, ge=1, le=MANY)  # of the trained flow
    particles: int = Field(default=8192, ge=2, le=MANY)  # fresh draws of the model below that one flow is trained on
    batch_size: int = Field(default=256, ge=1, le=MANY)
    steps: int = Field(default=500, ge=1, le=MANY)  # of Adam, a flow
    learning_rate: float = Field(default=1e-2, gt=0)
    final_learning_rate: float = Field(default=5e-4, gt=0)  # reached by a geometric decay
    clip_norm: float = Field(default=5.0, gt=0)  # of the gradient
    calibration: int = Field(default=2048, ge=2, le=MANY)  # fresh draws for c
    weighing: int = Field(default=8192, ge=2, le=MANY)  # fresh draws for E α
    latent_mean: tuple[float, ...] = Field(default=(0.0,), min_length=1)  # one number for every coordinate, or one each
    latent_scale: float = Field(default=1.0, gt=0)
    seed: int = Field(default=0, ge=-(2**63), lt=2**63)

    @model_validator(mode="after")
    def _within_the_floats(self) -> Self:
        growth = (self.flows_first + self.blocks) * abs(math.log10(self.tau_growth))
        if growth + abs(math.log10(self.tau)) > 300:
            raise ValueError("tau_growth: the last flow's tau leaves the floats; take fewer flows, or one nearer to 1")
        if self.flows_first + self.blocks == 0:
            raise ValueError("flows_first, blocks: no layer at all; want at least one flow")
        return self

    def plan(self) -> list[str]:
        """The kinds of the layers, in order."""
        block = ["flow", *["rejection"] * self.rejections]
        return ["flow"] * self.flows_first + block * self.blocks

    def tau_of(self, index: int) -> float:
        """τ of the flow that stands at `index` in the plan."""
        return self.tau * self.tau_growth ** self.plan()[:index].count("flow")


def configured(preset: str, target: str, changes: Mapping[str, Any] | None = None) -> JKOConfig:
    """A preset for a target, with changes. Raises ConfigError naming what is unknown or out of range."""
    if preset not in PRESETS:
        raise ConfigError(f"preset {preset!r}: there is none of that name; known are {', '.join(PRESETS)}")
    kind = "gmm" if target.startswith("gmm") else target
    own = _paper_gmm(target) if (preset, kind) == ("paper", "gmm") else PRESETS[preset].get(kind, PRESETS[preset][""])
    try:
        return JKOConfig.model_validate({**own, **(changes or {})})
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"settings of neural JKO: {told}") from None


_PAPER: Plain = {
    "tau": 0.01,
    "tau_growth": 4.0,
    "flows_first": 4,
    "blocks": 6,
    "width": 54,
    "depth": 3,
    "divergence": "probes",
    "solver": "dopri5",
    "particles": 50_000,
    "batch_size": 5000,
    "steps": 5000,
    "learning_rate": 5e-3,
    "final_learning_rate": 5e-3 * 0.95**50,
    "gain": 1.0,
    "clip_norm": 1e6,
    "ode_steps": 20,
    "calibration": 50_000,
    "weighing": 50_000,
}


def _paper_gmm(target: str) -> Plain:
    dim = int(target.removeprefix("gmm"))
    wide: Plain = {"width": 512, "tau": 0.001, "flows_first": 5, "learning_rate": 1e-3, "batch_size": 2000}
    wide["final_learning_rate"] = 1e-3 * 0.95**50
    blocks = 6 if dim < 50 else 7 if dim < 200 else 8
    common = {**_PAPER, "tau": 0.0025, "tau_growth": 2.0, "width": 2 * dim + 50, "blocks": blocks}
    return {**common, **(wide if dim >= 200 else {})}


PRESETS: dict[str, dict[str, Plain]] = {
    "cpu": {
        "": {},
        "mustache": {"flows_first": 2},
        "8peaky": {"flows_first": 2, "tau": 0.05, "tau_growth": 8.0},
        "funnel": {"tau": 5.0, "tau_growth": 4.0, "flows_first": 2, "blocks": 2, "steps": 800},
        "gmm": {"tau": 0.02, "tau_growth": 5.0, "flows_first": 3, "width": 192, "gain": 2.0},
    },
    "paper": {
        "": _PAPER,
        "8modes": {**_PAPER, "tau": 0.05, "flows_first": 2, "blocks": 4},
        "8peaky": {**_PAPER, "flows_first": 2, "blocks": 4},
        "mustache": {**_PAPER, "tau": 0.05, "flows_first": 6},
        "funnel": {
            **_PAPER,
            "tau": 5.0,
            "width": 256,
            "steps": 10_000,
            "particles": 200_000,
            "final_learning_rate": 5e-3 * 0.98**100,
        },
        "gmm": {},
    },
}
