"""Draws that stand in for the truth of a target that has no sampler: long chains, in a file."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from gsi_node.errors import ConfigError
from gsi_node.host.files import write
from gsi_node.neural_jko.identity import first_difference
from gsi_node.neural_jko.targets import Target

CLAIMED = 64  # draws whose log g says of which density a file is
WANTED = "want what numpy.savez writes of x (n, dim), log_g (n,), log_z and log_z_error"


@dataclass(frozen=True, slots=True)
class FileTruth:
    """A target with draws of it (n, dim), float64, that are as good as independent; satisfies KnownTarget.

    log_z, log_z_error: log ∫ g and its standard error, nats.
    """

    target: Target
    draws: Tensor
    log_z: float
    log_z_error: float

    @property
    def name(self) -> str:
        return self.target.name

    @property
    def dim(self) -> int:
        return self.target.dim

    @property
    def digest(self) -> str:
        """Of the draws and log Z."""
        return blake2b(repr(self.log_z).encode() + self.draws.numpy().tobytes(), digest_size=8).hexdigest()

    def log_density(self, x: Tensor) -> Tensor:
        return self.target.log_density(x)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """n of the draws, none twice. Raises ConfigError where there are fewer."""
        if n > len(self.draws):
            raise ConfigError(f"the truth of {self.name}: {len(self.draws)} draws in its file, {n} wanted; take fewer")
        return self.draws[torch.randperm(len(self.draws), generator=generator)[:n]]


def bare(target: Target) -> Target:
    """The target without the draws of a file."""
    return target.target if isinstance(target, FileTruth) else target


def write_truth(path: Path, target: Target, x: Tensor, log_z: float, log_z_error: float) -> None:
    """x: draws (n, dim); kept as float32."""
    kept = x.float()
    log_g = target.log_density(kept.double())
    file = BytesIO()
    np.savez_compressed(file, x=kept.numpy(), log_g=log_g.numpy(), log_z=log_z, log_z_error=log_z_error)
    write(path, file.getvalue())


def read_truth(path: Path, target: Target) -> FileTruth:
    """Raises ConfigError: no such file, not of this form, not of this density."""
    try:
        with np.load(path, allow_pickle=False) as file:
            x, log_g = (torch.from_numpy(file[key].astype(np.float64)) for key in ("x", "log_g"))
            log_z, log_z_error = float(file["log_z"]), float(file["log_z_error"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, BadZipFile) as error:
        raise ConfigError(f"{path}: no file of draws ({error}); {WANTED}") from error
    if x.ndim != 2 or x.shape[1] != target.dim or log_g.shape != x.shape[:1] or not bool(torch.isfinite(x).all()):
        raise ConfigError(f"{path}: x {tuple(x.shape)}, log_g {tuple(log_g.shape)}; {WANTED}, dim = {target.dim}")
    here = target.log_density(x[:CLAIMED])
    at = first_difference(log_g[:CLAIMED].tolist(), here.tolist())
    if at is not None:
        raise ConfigError(
            f"{path}: of another density than {target.name}: log g of draw {at} is {float(log_g[at]):g} there and "
            f"{float(here[at]):g} here; was it made with another --target-seed or --points?"
        )
    return FileTruth(target, x, log_z, log_z_error)
