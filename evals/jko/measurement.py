"""One measured sampler: a line of jko.json, and a file of its own once it is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError, with_config

from evals.rows.shapes import STRICT, first_fault
from gsi_node.errors import ConfigError
from gsi_node.host.files import read_object, write


@with_config(STRICT)
@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """n samples of a target against as many of the truth; None is what a method does not have.

    method: "truth" (against itself), "neural JKO", "pilot", or a baseline's. rho: D / E‖X − X'‖ − 1/n, which
    compares at any n; D is energy_distance. std: of the truth's rho. forward_kl: on n draws of the truth.
    ks_rejected, ks_least_p: of marginals.MarginalTest, against other draws of the truth. x1_tail: the 99.9 %
    quantile of x₁. mode_weights, mode_error: of mixtures. log_z_lower, log_z, log_z_truth, kl: nats. flows: how
    many the model has. flow_ess: of the last flow's truncated weights, a share. seconds, cpu_seconds, evaluations (of
    log g): of training, or of the baseline; sampling_…: of these draws alone. step_size, acceptance: of the chains, or
    particles, whose number `chains` is.
    """

    target: str
    method: str
    seed: int | None = None
    n: int
    dim: int
    rho: float
    energy_distance: float | None = None
    std: float | None = None
    forward_kl: float | None = None
    forward_kl_error: float | None = None
    ks_rejected: int | None = None
    ks_least_p: float | None = None
    x1_tail: float | None = None
    x1_tail_truth: float | None = None
    mode_weights: list[float] | None = None
    mode_error: float | None = None
    log_z_lower: float | None = None
    log_z_lower_error: float | None = None
    log_z: float | None = None
    log_z_error: float | None = None
    log_z_truth: float | None = None
    kl: float | None = None
    kl_error: float | None = None
    flows: int | None = None
    flow_ess: float | None = None
    seconds: float | None = None
    cpu_seconds: float | None = None
    evaluations: int | None = None
    sampling_seconds: float | None = None
    sampling_cpu_seconds: float | None = None
    sampling_evaluations: int | None = None
    step_size: float | None = None
    acceptance: float | None = None
    chains: int | None = None

    def plain(self) -> dict[str, object]:
        """What it has, as JSON holds it."""
        return {name: value for name, value in asdict(self).items() if value is not None}


_ADAPTER = TypeAdapter(Measurement)


def kept(path: Path, measure: Callable[[], Measurement]) -> Measurement:
    """The measurement in a file, made and written where there is none. Raises ConfigError where it holds none."""
    there = read_object(path)
    if there is None:
        made = measure()
        write(path, json.dumps(made.plain(), indent=1) + "\n")
        return made
    try:
        return _ADAPTER.validate_json(json.dumps(there))  # of JSON strict mode makes a record, of a dict it does not
    except ValidationError as error:
        fault = first_fault(error)
        raise ConfigError(f"{path}: no row of this table ({fault}); remove it, and it is measured again") from error
