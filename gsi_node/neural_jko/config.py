"""Every setting of neural JKO sampling; unknown names are refused. One set of defaults for every density."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gsi_node.neural_jko.flow import MOST_STEPS, OdeSolver
from gsi_node.neural_jko.pilot import FEW as FEW_DIMS
from gsi_node.neural_jko.velocity import Activation, VelocityShape

FEW, WIDEST, MANY = 1000, 100_000, 100_000_000  # beyond these a number is a slip
OUTER = 2**15  # weights of a last layer, at most: the noise of batches costs nats by their number, as a step does time
OWN = 2  # units of a coordinate's own gate, beyond FEW_DIMS dimensions


class LayerStage(NamedTuple):
    """What is made at once: one flow, or all rejection layers on a flow, at most `layers`."""

    kind: Literal["flow", "rejection"]
    layers: int


class JKOConfig(BaseModel):
    """The stack is `flows_first` flows with `first_rejections` layers on the last of them, then blocks of one flow and
    `rejections` layers: at most `blocks`, none once the ESS of the last layer is `wanted_ess` or a block's flow does
    not raise it. Layers on a flow end once their ESS is `enough_ess`. No flow at all where the latent has `wanted_ess`.

    Flow k minimises E[−β log g(z(1)) + ω/τ_k − ℓ + log p(z(0))] with τ_k = tau · tau_growth^k: arXiv 2407.20444, whose
    own setting is the preset `paper`. The defaults depart from it. They work in the coordinates of a pilot run
    (`coordinates`); the first flow starts by maximum likelihood on the pilot's points (`likelihood_steps`: no JKO step)
    and is refitted in rounds where its ESS is low (`rounds`); almost nothing of the W₂ term ω/τ is left (`tau`); β < 1
    in flows that are followed by rejections (`proposal_ess`); without a start, the first flow's target is tempered
    (`tempered`); and network, optimiser and solver are others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    coordinates: Literal["pilot", "latent"] = "pilot"  # found by a pilot run, or N(latent_mean, latent_scale² I)
    pilot_evaluations: int = Field(default=20_000, ge=8_000, le=MANY)  # of the target, at most
    tau: float = Field(default=1000.0, gt=0)
    tau_growth: float = Field(default=1.0, gt=0)
    flows_first: int = Field(default=1, ge=0, le=FEW)
    first_rejections: int = Field(default=16, ge=0, le=FEW)
    blocks: int = Field(default=3, ge=0, le=FEW)
    rejections: int = Field(default=3, ge=0, le=FEW)
    rejection_rate: float = Field(default=0.2, gt=0, lt=1)
    enough_ess: float | None = Field(default=0.999, gt=0, le=1)  # at which layers on a flow end; None: all are made
    wanted_ess: float | None = Field(default=0.5, gt=0, le=1)  # that needs no more; None: all blocks are made
    proposal_ess: float = Field(default=0.75, gt=0, le=1)  # β: the lowest at which g^β as a proposal for g has this ESS
    width: int | None = Field(default=None, ge=1, le=WIDEST)  # None: 128 + 6 dim, beyond 64 dimensions OUTER / dim
    depth: int = Field(default=2, ge=1, le=FEW)
    activation: Activation = "mixed"
    gate: int = Field(default=64, ge=0, le=WIDEST)  # hidden units of a(x, t) in v += a ∘ x; 0: none
    own: int | None = Field(default=None, ge=0, le=FEW)  # of a coordinate's own gate; None: see `network`
    gain: float = Field(default=2.0, gt=0)  # of the tanh units of the network's first layer at the start
    divergence: Literal["exact", "probes"] = "exact"  # while training; densities are always evaluated exactly
    probes: int = Field(default=1, ge=1, le=MANY)
    solver: OdeSolver = "rk3"  # while training; densities are always evaluated by rk4
    train_ode_steps: int = Field(default=3, ge=1, le=MANY)
    step_jitter: int = Field(default=1, ge=0, le=FEW)  # a training step takes 0 to this many more, at random
    ode_steps: int = Field(default=8, ge=1, le=MOST_STEPS)  # of the trained flow, doubled until its density settles
    ode_tolerance: float = Field(default=0.01, gt=0)  # nats by which log p may move at the 99th percentile
    particles: int = Field(default=8192, ge=2, le=MANY)  # draws of the layers below that one flow is trained on
    batch_size: int = Field(default=256, ge=1, le=MANY)
    likelihood_steps: int = Field(default=700, ge=0, le=MANY)  # of the first flow, on the pilot's points; 0: reverse KL
    likelihood_points: int = Field(default=8000, ge=2, le=MANY)
    rounds: int = Field(default=4, ge=0, le=FEW)  # of refitting the first flow on its reweighted draws, at most
    round_steps: int = Field(default=400, ge=1, le=MANY)
    round_learning_rate: float = Field(default=1.5e-3, gt=0)
    steps: int = Field(default=400, ge=1, le=MANY)  # of a flow that is fitted by reverse KL
    latent_steps: int | None = Field(default=None, ge=1, le=MANY)  # of one on a pilot's latent; None: `steps`, ≥ 4 dim
    tempered: float = Field(default=0.6, ge=0, le=1)  # share of them in which a first such flow's target is tempered
    optimizer: Literal["adam", "soap"] = "soap"  # soap: needs pytorch-optimizer
    learning_rate: float = Field(default=3e-3, gt=0)
    final_learning_rate: float = Field(default=1e-4, gt=0)  # reached by a geometric decay
    clip_norm: float = Field(default=1e6, gt=0)  # of the gradient
    calibration: int = Field(default=16_384, ge=2, le=MANY)  # fresh draws for c, and for a flow's ESS
    weighing: int = Field(default=200_000, ge=2, le=MANY)  # fresh draws for E α, at most
    log_z_error: float | None = Field(default=0.005, gt=0)  # nats: E α takes what this takes; None: all of `weighing`
    latent_mean: tuple[float, ...] = Field(default=(0.0,), min_length=1)  # one number for every coordinate, or one each
    latent_scale: float = Field(default=1.0, gt=0)
    seed: int = Field(default=0, ge=-(2**63), lt=2**63)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        growth = (self.flows_first + self.blocks) * abs(math.log10(self.tau_growth))
        if growth + abs(math.log10(self.tau)) > 300:
            raise ValueError("tau_growth: the last flow's tau leaves the floats; take fewer flows, or one nearer to 1")
        if self.flows_first + self.blocks == 0:
            raise ValueError("flows_first, blocks: no layer at all; want at least one flow")
        if self.likelihood_steps and self.coordinates != "pilot":
            raise ValueError("likelihood_steps: needs the points of coordinates=pilot; want 0 with coordinates=latent")
        if not self.likelihood_steps and self.rounds and "rounds" in self.model_fields_set:
            raise ValueError(
                "rounds: of a first flow that starts by maximum likelihood; want 0 with likelihood_steps=0"
            )
        if self.coordinates == "pilot" and (any(self.latent_mean) or self.latent_scale != 1.0):
            raise ValueError("latent_mean, latent_scale: coordinates=pilot finds its own; want coordinates=latent")
        return self

    def rejections_on(self, flow: int) -> int:
        """How many rejection layers follow the flow of that number, counted from 0."""
        if flow >= self.flows_first:
            return self.rejections
        return self.first_rejections if flow == self.flows_first - 1 else 0

    def next_stage(self, records: Sequence[Mapping[str, Any]], latent_ess: float = 0.0) -> LayerStage | None:
        """What is made on top of these layers; None: nothing more, `stopped` says why where more was planned.

        latent_ess: of what the first flow would start from. Where that is wanted_ess there is no flow.
        """
        kinds = [record.get("kind") for record in records]
        flows = kinds.count("flow")
        if not kinds and self.wanted_ess is not None and latent_ess >= self.wanted_ess and self.first_rejections:
            return LayerStage("rejection", self.first_rejections)
        if flows and kinds[-1] == "flow" and self.rejections_on(flows - 1):
            return LayerStage("rejection", self.rejections_on(flows - 1))
        if flows >= self.flows_first + self.blocks or self.stopped(records):
            return None
        return LayerStage("flow", 1)

    def made_of(self, stage: LayerStage, records: Sequence[Mapping[str, Any]]) -> int:
        """How many layers of these records are that stage; 0: they do not begin with all of it."""
        for made, record in enumerate(records[: stage.layers], 1):
            if record.get("kind") != stage.kind:
                return 0
            enough = self.enough_ess is not None and record.get("ess", 0.0) >= self.enough_ess
            if made == stage.layers or (stage.kind == "rejection" and enough):
                return made
        return 0

    def stopped(self, records: Sequence[Mapping[str, Any]]) -> str | None:
        """Why no block follows these layers though the plan allows one; None: it does."""
        begun = any(record.get("kind") == "rejection" for record in records) or len(records) >= self.flows_first > 0
        if not records or not begun or self.wanted_ess is None:
            return None
        if records[-1].get("ess", 0.0) >= self.wanted_ess:
            return f"ESS {records[-1]['ess']:.3f}, wanted {self.wanted_ess:g}"
        return records[-1].get("stopped")

    def plan(self) -> list[str]:
        """The kinds of the layers, in order, where neither ESS is reached and every block helps."""
        layers: list[dict[str, str]] = []
        while (stage := self.next_stage(layers)) is not None:
            layers += [{"kind": stage.kind}] * stage.layers
        return [layer["kind"] for layer in layers]

    def tau_of(self, flow: int) -> float:
        """τ of the flow of that number, counted from 0."""
        return self.tau * self.tau_growth**flow

    def network(self, dim: int) -> VelocityShape:
        width = self.width or max(1, min(128 + 6 * dim, OUTER // dim))
        many = self.coordinates == "pilot" and dim > FEW_DIMS
        own = self.own if self.own is not None else OWN if many else 0
        return VelocityShape(dim, width, self.depth, self.activation, self.gate, self.gain, own)

    def steps_in(self, dim: int, layers: int) -> int:
        """Steps of a flow by reverse KL on that many layers."""
        if layers or self.coordinates == "latent":
            return self.steps
        return self.latent_steps or max(self.steps, 4 * dim)
