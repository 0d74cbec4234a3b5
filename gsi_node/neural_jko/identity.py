"""Which run a folder holds: what determines its numbers, and is compared before anything goes on in it.

The settings, the kind of device (its random streams are its own), and the density. A function has no name to go by, so
log g and its slope are kept at fixed points around 0: densities that agree at all of them are taken for the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from gsi_node.core.rng import Stream
from gsi_node.errors import ConfigError
from gsi_node.identity import differing
from gsi_node.neural_jko.check import refuse_shape
from gsi_node.neural_jko.config import JKOConfig
from gsi_node.neural_jko.targets import Target
from gsi_node.types import Key

RADII = (0.3, 1.0, 3.0, 30.0)
PROBES = 64
ROUNDING = 1e-9  # relative: other processors and numbers of threads add in another order
SLOPE_ROUNDING = 1e-6

LogValue = float | str  # text for what JSON has no number for: nan, inf, -inf


@dataclass(frozen=True, slots=True)
class Claim:
    """log g and ⟨∇ log g, e⟩ at the same fixed points, e a direction of its own at each; None: not kept (0.1)."""

    log_density: Sequence[LogValue] | None
    slope: Sequence[LogValue] | None

    @classmethod
    def of(cls, about: Mapping[str, Any]) -> Claim:
        """As a file keeps it. Raises ConfigError where that is no list of numbers."""
        for key in ("log_density", "slope"):
            kept = about.get(key, [])
            if not isinstance(kept, list) or not all(isinstance(value, int | float | str) for value in kept):
                raise ConfigError(f"{key} {_short(kept)}, which is no list of numbers")
        return cls(about.get("log_density"), about.get("slope"))

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    def difference(self, other: Claim) -> str:
        """The first difference beyond rounding in what both keep; empty where there is none."""
        for what, a, b, rounding in (
            ("log g", self.log_density, other.log_density, ROUNDING),
            ("the slope of log g", self.slope, other.slope, SLOPE_ROUNDING),
        ):
            if a is None or b is None:
                continue
            at = 0 if len(a) != len(b) else first_difference(a, b, rounding)
            if at is not None:
                return f"{what} at probe {at} {a[at] if at < len(a) else None} → {b[at] if at < len(b) else None}"
        return ""


def identity(target: Target, config: JKOConfig, device: str) -> dict[str, Any]:
    """JSON-plain: target (its name), dim, device, the claim, and the settings. Raises ConfigError (claim_of)."""
    if len(config.latent_mean) not in (1, target.dim):
        raise ConfigError(f"latent_mean: want one number or {target.dim}, got {len(config.latent_mean)}")
    about = {"target": target.name, "dim": target.dim, "device": torch.device(device).type}
    return {**about, **claim_of(target).plain(), **config.model_dump(mode="json")}


def claim_of(target: Target) -> Claim:
    """At r · u, u uniform on [−1, 1]^dim, 16 draws for each r of RADII; float64, nats.

    Raises ConfigError for a result of another shape, and for a density that is random or has no gradient.
    """
    uniform = Stream(Key(0, "neural-jko", 0, "probes")).uniforms(2 * PROBES * target.dim)
    u, e = (2.0 * torch.from_numpy(uniform) - 1.0).reshape(2, PROBES, target.dim)
    x = torch.tensor(RADII, dtype=torch.float64).repeat_interleave(PROBES // len(RADII))[:, None] * u
    first, second = (_valued(target, x.clone(), e) for _ in range(2))
    if told := first.difference(second):
        raise ConfigError(f"target {target.name}: log_density is not a function: {told}; fix what is random in it")
    return first


def _valued(target: Target, x: Tensor, directions: Tensor) -> Claim:
    values = target.log_density(x.requires_grad_())
    refuse_shape(target, x, values)
    if not values.requires_grad:
        raise ConfigError(
            f"target {target.name}: log_density has no gradient; write it with torch's operations on its argument"
        )
    (gradient,) = torch.autograd.grad(values.sum(), x)
    return Claim(_plain(values.detach()), _plain((gradient * directions).sum(1)))


def first_difference(a: Sequence[LogValue], b: Sequence[LogValue], rounding: float = ROUNDING) -> int | None:
    """The first place where two lists of numbers differ by more than rounding; None where they are the same."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=True)) if not _same(x, y, rounding)), None)


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """What differs between a folder's identity and this run's, as "key there → here".

    A setting that the folder does not know counts as its default.
    """
    defaults = JKOConfig().model_dump(mode="json")
    known = {**defaults, **there}
    told = [
        f"{one.name} {_short(one.there)} → {_short(one.here)}"
        for one in differing(known, here)
        if one.name not in ("log_density", "slope")
    ]
    try:
        difference = Claim.of(there).difference(Claim.of(here))
    except ConfigError as error:
        return [*told, str(error)]
    return [*told, f"another density of the name {here['target']}: {difference}"] if difference else told


def _plain(values: Tensor) -> list[LogValue]:
    return [value if math.isfinite(value) else str(value) for value in values.double().tolist()]


def _same(a: LogValue, b: LogValue, rounding: float) -> bool:
    if isinstance(a, str) or isinstance(b, str):
        return a == b
    try:
        return math.isclose(a, b, rel_tol=rounding, abs_tol=rounding)
    except OverflowError:  # an integer beyond the floats, which nobody wrote there
        return False


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
