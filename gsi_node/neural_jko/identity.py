"""Which run a folder holds: what determines its numbers, and is compared before anything goes on in it.

The settings, the kind of device (its random streams are its own), and the density. A function has no name to go by, so
log g is kept at PROBES fixed points around the latent: densities that agree at all of them are taken for the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from gsi_node.core.rng import Stream
from gsi_node.errors import ConfigError
from gsi_node.identity import differing
from gsi_node.neural_jko.check import refuse_shape
from gsi_node.neural_jko.config import JKOConfig
from gsi_node.neural_jko.targets import Target
from gsi_node.types import Key, Plain

RADII = (0.3, 1.0, 3.0, 30.0)  # latent scales
PROBES = 64
ROUNDING = 1e-9  # relative: other processors and numbers of threads add in another order
DENSITY = "log_density"

LogValue = float | str  # text for what JSON has no number for: nan, inf, -inf


def identity(target: Target, config: JKOConfig, device: str) -> Plain:
    """JSON-plain: target (its name), dim, device, log_density, and the settings. Raises ConfigError (density_of)."""
    about = {"target": target.name, "dim": target.dim, "device": torch.device(device).type}
    density = density_of(target, config.latent_mean, config.latent_scale)
    return {**about, DENSITY: density, **config.model_dump(mode="json")}


def density_of(target: Target, mean: Sequence[float], scale: float) -> list[LogValue]:
    """log g at mean + scale · r · u, u uniform on [−1, 1]^dim, 16 draws for each r of RADII; float64, nats.

    Raises ConfigError for a result of another shape, and for a density that is random.
    """
    if len(mean) not in (1, target.dim):
        raise ConfigError(f"latent_mean: want one number or {target.dim}, got {len(mean)}")
    uniform = torch.from_numpy(Stream(Key(0, "neural-jko", 0, "probes")).uniforms(PROBES * target.dim))
    radii = torch.tensor(RADII, dtype=torch.float64).repeat_interleave(PROBES // len(RADII))
    u = 2.0 * uniform.reshape(PROBES, target.dim) - 1.0
    x = torch.tensor(mean, dtype=torch.float64) + scale * radii[:, None] * u
    with torch.no_grad():
        first, second = (target.log_density(x.clone()) for _ in range(2))
    refuse_shape(target, x, first)
    values, again = _plain(first), _plain(second)
    if (at := first_difference(values, again)) is not None:
        raise ConfigError(
            f"target {target.name}: log_density is not a function: {values[at]}, then {again[at]} at {x[at].tolist()}; "
            "fix what is random in it"
        )
    return values


def first_difference(a: Sequence[LogValue], b: Sequence[LogValue]) -> int | None:
    """The first place where two lists of log-densities differ by more than rounding; None where they are the same."""
    if len(a) != len(b):
        return 0
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=True)) if not _same(x, y)), None)


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """What differs between a folder's identity and this run's, as "key there → here".

    A setting that the folder does not know counts as its default. Folders of 0.1.0 know neither device nor density.
    """
    defaults = JKOConfig().model_dump(mode="json")
    known = {**{key: value for key, value in here.items() if key in ("device", DENSITY)}, **defaults, **there}
    told = [
        f"{one.name} {_short(one.there)} → {_short(one.here)}" for one in differing(known, here) if one.name != DENSITY
    ]
    kept = known[DENSITY]
    if not isinstance(kept, list) or not all(isinstance(value, int | float | str) for value in kept):
        told.append(f"{DENSITY} {_short(kept)}, which is no list of numbers")
    elif (at := first_difference(kept, here[DENSITY])) is not None:
        values = f"{kept[at] if at < len(kept) else None} → {here[DENSITY][at]}"
        told.append(f"another density of the name {here['target']}: log g at probe {at} {values}")
    return told


def _plain(values: torch.Tensor) -> list[LogValue]:
    return [value if math.isfinite(value) else str(value) for value in values.double().tolist()]


def _same(a: LogValue, b: LogValue) -> bool:
    if isinstance(a, str) or isinstance(b, str):
        return a == b
    try:
        return math.isclose(a, b, rel_tol=ROUNDING, abs_tol=ROUNDING)
    except OverflowError:  # an integer beyond the floats, which nobody wrote there
        return False


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
