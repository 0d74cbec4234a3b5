"""The truth of the Cox process: long HMC chains for its draws, tempered SMC for its log Z. Some CPU minutes.

    python -m evals jko-truth --out DIR
    python -m evals jko --targets cox --truth DIR/truth.npz …

Writes DIR/truth.npz (some 60 MB) and DIR/truth.json (R̂, effective sizes, log Z). The same command goes on in DIR.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike

from evals.jko.folder import claim_folder
from evals.jko.smc import framed, walker
from evals.jko.truth import write_truth
from evals.jko.twins import twin
from evals.run.guard import guarded
from gsi_node.errors import ConfigError, GSIError
from gsi_node.host.files import write
from gsi_node.host.options import named_path
from gsi_node.host.screen import Screen, screen
from gsi_node.neural_jko.frame import AffineFrame
from gsi_node.neural_jko.lock import held
from gsi_node.neural_jko.targets import Target, named
from gsi_node.types import Array, Plain

if TYPE_CHECKING:
    from blackjax.mcmc.hmc import HMCState  # imported where chains run
    from jax import Array as JaxArray

    from evals.jko.twins import JaxLogDensity

CHAINS, PARTS, KEPT = 100, 20, 20  # files of KEPT draws a chain
TUNED, THIN, LEAPFROGS, WANTED = 300, 3, 6, 0.8
PATHS, PARTICLES = 16, 4000  # of SMC
AGREED, ENOUGH = 1.01, 0.25  # largest R̂; smallest effective size, as a share of the draws


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", required=True, type=named_path, help="folder; the same command goes on in it")
    parser.add_argument("--target-seed", type=int, help="the points are drawn from it")


def main(options: argparse.Namespace) -> int:
    return guarded(partial(_measure, options))


def _measure(options: argparse.Namespace) -> int:
    with held(options.out):
        told = found(named("cox", options.target_seed), options.out, screen())
    sys.stdout.write(json.dumps(told, indent=1) + "\n")
    return 0


def found(target: Target, folder: Path, console: Screen) -> Plain:
    """What truth.json holds. Raises GSIError where the chains do not agree."""
    import jax

    claim_folder(folder, target)
    with jax.enable_x64(True):
        frame = laplace(twin(target), target.dim)
        density = framed(twin(target), frame)
        parts = drawn(density, target.dim, folder, console)
        log_z = integrals(density, target.dim, folder, console)
        told = {**diagnosed(np.concatenate(parts, axis=1)), **pooled(np.array(log_z))}
    refuse_disagreeing(told)
    x = frame.to_x(torch.from_numpy(np.concatenate(parts, axis=1).reshape(-1, target.dim)))
    write_truth(folder / "truth.npz", target, x, told["log_z"], told["log_z_error"])
    write(folder / "truth.json", json.dumps(told, indent=1) + "\n")
    return told


def laplace(density: JaxLogDensity, dim: int) -> AffineFrame:
    """The coordinates in which −∇² log g at its maximum is I. Of a log-concave density."""
    import jax
    from scipy.optimize import minimize

    def minus(x: JaxArray) -> JaxArray:
        return -density(x)

    value, slope, curvature = (jax.jit(f) for f in (minus, jax.grad(minus), jax.hessian(minus)))
    top = minimize(value, np.zeros(dim), jac=slope, hess=curvature, method="trust-exact").x
    root = np.linalg.inv(np.linalg.cholesky(np.asarray(curvature(top)))).T  # A Aᵀ = (−∇² log g)⁻¹
    return AffineFrame(torch.from_numpy(top), torch.from_numpy(root.copy()))


def drawn(density: JaxLogDensity, dim: int, folder: Path, console: Screen) -> list[Array]:
    """Files of draws (CHAINS, KEPT, dim) in z: each goes on where the one before it ended, the first after tuning."""
    import blackjax
    import jax

    tuning = blackjax.window_adaptation(
        blackjax.hmc,
        density,
        target_acceptance_rate=WANTED,
        adaptation_info_fn=lambda *_: None,
        num_integration_steps=LEAPFROGS,
    )

    def tuned() -> JaxArray:
        """Where the chains are after tuning, with each one's step size and metric: (CHAINS, 2 dim + 1)."""
        start, moving = jax.random.split(jax.random.key(0))
        z = jax.random.normal(start, (CHAINS, dim))

        def one(key: JaxArray, z: JaxArray) -> JaxArray:
            (state, settings), _ = tuning.run(key, z, TUNED)
            return jax.numpy.concatenate([state.position, settings["inverse_mass_matrix"], settings["step_size"][None]])

        return jax.jit(jax.vmap(one))(jax.random.split(moving, CHAINS), z)

    settings = kept(folder / "tuned.npy", tuned)
    z, metrics, sizes = settings[:, :dim], settings[:, dim : 2 * dim], settings[:, -1]

    def part_of(key: JaxArray, z: JaxArray, metric: JaxArray, size: JaxArray) -> JaxArray:
        sampler = blackjax.hmc(density, size, metric, LEAPFROGS)

        def keep(state: HMCState, key: JaxArray) -> tuple[HMCState, JaxArray]:
            for one in jax.random.split(key, THIN):
                state, _ = sampler.step(one, state)
            return state, state.position

        return jax.lax.scan(keep, sampler.init(z), jax.random.split(key, KEPT))[1]

    advance, parts = jax.jit(jax.vmap(part_of)), list[Array]()
    for index in range(PARTS):
        console.show(f"draws {index + 1} of {PARTS}")
        keys = jax.random.split(jax.random.key(1 + index), CHAINS)
        parts.append(kept(folder / f"draws-{index:02d}.npy", partial(advance, keys, z, metrics, sizes)))
        z = parts[-1][:, -1]
    return parts


def integrals(density: JaxLogDensity, dim: int, folder: Path, console: Screen) -> list[float]:
    """log ∫ g by PATHS paths from the Laplace approximation."""
    import jax

    walk = walker(density, dim)

    def log_z(index: int) -> float:
        return walk(PARTICLES, jax.random.key(1000 + index), 1, PARTICLES).log_z

    found = []
    for index in range(PATHS):
        console.show(f"log Z {index + 1} of {PATHS}")
        found.append(float(kept(folder / f"log-z-{index:02d}.npy", partial(log_z, index))))
    return found


def kept(path: Path, make: Callable[[], ArrayLike]) -> Array:
    """An array in a file, made and written where there is none. Raises ConfigError where it holds none."""
    if not path.exists():
        file = BytesIO()
        np.save(file, make())
        write(path, file.getvalue())
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(f"{path}: no array of this command ({error}); remove it, and it is made again") from error


def diagnosed(z: Array) -> Plain:
    """Of chains (chains, draws, dim): the largest split R̂, the smallest and the median effective size of a coordinate.

    Of squares, too: what scales are judged by.
    """
    from blackjax import diagnostics

    halves = np.concatenate(np.split(z[:, : z.shape[1] // 2 * 2], 2, axis=1))
    both = (halves, halves**2)
    sizes = [np.asarray(diagnostics.effective_sample_size(values)) for values in both]
    return {
        "draws": z.shape[0] * z.shape[1],
        "r_hat": max(float(np.max(diagnostics.potential_scale_reduction(values))) for values in both),
        "least_ess": float(np.min(sizes)),
        "median_ess": float(np.median(sizes)),
    }


def pooled(log_z: Array) -> Plain:
    """log of the mean of Z's estimates, each unbiased; its error by the delta method. Nats."""
    highest = log_z.max()
    z = np.exp(log_z - highest)
    error = float(z.std(ddof=1) / z.mean() / np.sqrt(len(z)))
    return {"log_z": float(highest + np.log(z.mean())), "log_z_error": error, "log_z_spread": float(log_z.std(ddof=1))}


def refuse_disagreeing(told: Plain) -> None:
    """Raises GSIError."""
    if told["r_hat"] > AGREED or told["least_ess"] < ENOUGH * told["draws"]:
        raise GSIError(
            f"the chains do not agree: R̂ {told['r_hat']:.4f} (want {AGREED}), effective size {told['least_ess']:.0f} "
            f"of {told['draws']} draws; longer chains are needed"
        )
