"""Workers on a Ray cluster: one actor each, driven like processes; rows come back to the driver, which writes them.

An actor that dies (its node, its process) is replaced, and the rows it had in hand are given out again. Needs the
extra `ray`. On a cluster the folders `evals` and `gsi_node` are shipped with the job; every node must reach the models.
"""

from __future__ import annotations

import logging
import os
from importlib import import_module
from types import ModuleType
from typing import Protocol

from evals.graders.pool import ROOT, python_path
from evals.run.crew import Crew, Done, Event, Member, WorkerReady, WorkerUnfit, resolve
from evals.run.how import How
from evals.run.plan import Plan, Task, Workplace
from gsi_node.errors import BackendUnavailable, ConfigError, GSIError
from gsi_node.needs import install_extra

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_DEDUP_LOGS": "0"}


class Shard:
    """The body of an actor: the models, and a row for each task."""

    def __init__(self, plan: Plan, workplace: Workplace, threads: int, load: str) -> None:
        from evals.run.solve import Solver

        self._unfit: str | None = None
        try:
            self._solver = Solver(plan, workplace, resolve(load), threads)
            self._fingerprints = self._solver.fingerprints()
        except GSIError as error:
            self._unfit = str(error)

    def begin(self) -> WorkerReady | WorkerUnfit:
        """Whether the models are loaded."""
        return WorkerReady(self._fingerprints) if self._unfit is None else WorkerUnfit(self._unfit)

    def solve(self, task: Task) -> Done:
        """One row."""
        future = self._solver.submit(task)
        future.exception()  # waits
        return Done.of(task, self._solver.finished(task, future))


class Remote(Protocol):
    """A method of an actor, from afar: what it returns stands for a later reply."""

    def remote(self, *given: object) -> object: ...


class Actor(Protocol):
    """A `Shard` from afar."""

    @property
    def begin(self) -> Remote: ...
    @property
    def solve(self) -> Remote: ...


class RayCrew(Crew[Actor]):
    """Workers that are actors. Raises ConfigError where Ray cannot be used."""

    kind = "ray"

    def __init__(self, plan: Plan, how: How, size: int) -> None:
        super().__init__(plan, how, size)
        assert how.ray is not None
        self._ray = _connected(how.ray, size, how.threads)
        self._plan = self._ray.put(plan)
        self._asked: dict[object, Member[Actor]] = {}
        self._fill()

    def wait(self, seconds: float) -> list[Event]:
        asked = list(self._asked)
        heard, _ = self._ray.wait(asked, num_returns=len(asked), timeout=0)
        if not heard:
            heard, _ = self._ray.wait(asked, num_returns=1, timeout=seconds)
        return [event for reply in heard if (event := self._hear(reply)) is not None]

    def stop(self, *, at_once: bool) -> None:
        for member in self.members:
            self._ray.kill(member.handle)
        self._ray.shutdown()

    def _send(self, member: Member[Actor], task: Task) -> None:
        self._asked[member.handle.solve.remote(task)] = member

    def _hear(self, reply: object) -> Event | None:
        member = self._asked.pop(reply, None)
        if member is None:
            return None  # of an actor buried a moment ago
        try:
            event = self._ray.get(reply)
        except self._ray.exceptions.RayActorError:
            self._asked = {other: asked for other, asked in self._asked.items() if asked is not member}
            return self._lost(member, None)
        assert isinstance(event, Event)
        return self._heard(member, event)

    def _add(self) -> Member[Actor]:
        member = super()._add()
        self._asked[member.handle.begin.remote()] = member
        return member

    def _begin(self, name: str, workplace: Workplace) -> Actor:
        options = {"num_cpus": 1, "max_restarts": 0, "max_concurrency": self.how.concurrency}
        kind = self._ray.remote(Shard).options(**options)
        actor: Actor = kind.remote(self._plan, workplace, self.how.threads, self.how.load)
        return actor


def _connected(address: str, size: int, threads: int) -> ModuleType:
    """The module ray, connected. Raises ConfigError."""
    os.environ.update({name: os.environ.get(name, value) for name, value in QUIET.items()})
    try:
        ray = import_module("ray")
    except ModuleNotFoundError as error:
        raise ConfigError(f"--ray needs the package ray: {install_extra('ray')}") from error
    variables = {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}
    about: dict[str, object] = {"address": address, "log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        here = {"env_vars": variables | {"PYTHONPATH": python_path()}}
        about |= {"num_cpus": size, "include_dashboard": False, "object_store_memory": 100 << 20, "runtime_env": here}
    else:
        modules = [str(ROOT / name) for name in ("evals", "gsi_node")]
        about["runtime_env"] = {"env_vars": variables, "py_modules": modules}
    try:
        ray.init(**about)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        raise BackendUnavailable(f"--ray {address}: no Ray there: {error}") from error
    return ray
