"""Workers on a Ray cluster: one actor each, driven like processes; rows come back to the driver, which writes them.

An actor that dies (its node, its process) is replaced, and the rows it had in hand are given out again. Needs the
extra `ray`. On a cluster the folders `evals` and `gsi_node` are shipped with the job; every node must reach the models.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from typing import Any

from evals.run.plan import Plan, Setting, Task
from evals.run.workers import DEFAULT_LOAD, ROOT, Died, Done, Event, Ready, Unfit, done, resolve
from gsi_node.errors import BackendUnavailable, ConfigError, GSIError

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_DEDUP_LOGS": "0"}


class Shard:
    """The body of an actor: the models, and a row for each task."""

    def __init__(self, plan: Plan, setting: Setting, threads: int, load: str) -> None:
        from evals.run.solve import Solver

        self._unfit: str | None = None
        try:
            self._solver = Solver(plan, setting, resolve(load), threads)
            self._fingerprints = self._solver.fingerprints()
        except GSIError as error:
            self._unfit = str(error)

    def begin(self) -> Ready | Unfit:
        """Whether the models are loaded."""
        return Ready(self._fingerprints) if self._unfit is None else Unfit(self._unfit)

    def solve(self, task: Task) -> Done:
        """One row."""
        future = self._solver.submit(task)
        future.exception()  # waits
        return done(task, self._solver.finished(task, future))


@dataclass(slots=True)
class _Actor:
    name: str
    handle: Any
    ready: bool = False
    tasks: list[Task] = field(default_factory=list)


class RayPool:
    """`count` actors, each with at most `concurrency` rows in hand. Raises ConfigError where Ray cannot be used."""

    def __init__(
        self,
        plan: Plan,
        *,
        address: str,
        count: int,
        concurrency: int = 1,
        threads: int = 1,
        row_seconds: float | None = None,
        load: str = DEFAULT_LOAD,
    ) -> None:
        os.environ.update({name: os.environ.get(name, value) for name, value in QUIET.items()})
        try:
            import ray
        except ModuleNotFoundError as error:
            raise ConfigError("--ray needs the package ray: pip install 'gsi-node[ray]'") from error
        self._ray = ray
        self._about = (count, concurrency, threads, row_seconds, load)
        self._actors: list[_Actor] = []
        self._asked: dict[Any, tuple[_Actor, Task | None]] = {}
        self._started = 0
        variables = {
            "OMP_NUM_THREADS": str(threads),
            "OMP_WAIT_POLICY": "PASSIVE",
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
        }
        try:
            if address == "local":
                ray.init(
                    address="local",
                    num_cpus=count,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    object_store_memory=100 << 20,
                    runtime_env={"env_vars": variables},
                )
            else:
                del variables["PYTHONPATH"]
                modules = [str(ROOT / name) for name in ("evals", "gsi_node")]
                ray.init(
                    address=address,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    runtime_env={"env_vars": variables, "py_modules": modules},
                )
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            raise BackendUnavailable(f"--ray {address}: no Ray there: {error}") from error
        self._plan = ray.put(plan)
        for _ in range(count):
            self._start()

    def room(self) -> bool:
        """Whether some actor that is ready could take a task."""
        return self._freest() is not None

    def give(self, task: Task) -> None:
        """Hand a task to the actor with the most room."""
        actor = self._freest()
        assert actor is not None
        actor.tasks.append(task)
        self._asked[actor.handle.solve.remote(task)] = (actor, task)

    def wait(self, seconds: float) -> list[Event]:
        """What happened, at the latest after `seconds`."""
        asked = list(self._asked)
        heard, _ = self._ray.wait(asked, num_returns=len(asked), timeout=0)
        if not heard:
            heard, _ = self._ray.wait(asked, num_returns=1, timeout=seconds)
        return [event for reply in heard if (event := self._hear(reply)) is not None]

    def stop(self, *, at_once: bool) -> None:
        """End the actors; leave or end Ray."""
        for actor in self._actors:
            self._ray.kill(actor.handle)
        self._ray.shutdown()

    def _freest(self) -> _Actor | None:
        ready = [actor for actor in self._actors if actor.ready and len(actor.tasks) < self._about[1]]
        return min(ready, key=lambda actor: len(actor.tasks), default=None)

    def _hear(self, reply: Any) -> Event | None:
        if reply not in self._asked:
            return None  # of an actor buried a moment ago
        actor, task = self._asked.pop(reply)
        try:
            event: Event = self._ray.get(reply)
        except self._ray.exceptions.RayActorError:
            return self._bury(actor)
        if isinstance(event, Ready):
            actor.ready = True
        elif task is not None:
            actor.tasks.remove(task)
        return event

    def _bury(self, actor: _Actor) -> Died:
        self._actors.remove(actor)
        self._asked = {reply: about for reply, about in self._asked.items() if about[0] is not actor}
        if actor.ready:
            self._start()
        return Died(actor.name, None, tuple(actor.tasks), actor.ready)

    def _start(self) -> None:
        count, concurrency, threads, row_seconds, load = self._about
        self._started += 1
        name = f"ray-{self._started}"
        setting = Setting(concurrency, count, name, row_seconds)
        kind: Any = self._ray.remote(Shard)
        kind = kind.options(num_cpus=1, max_restarts=0, max_concurrency=concurrency)
        handle = kind.remote(self._plan, setting, threads, load)
        actor = _Actor(name, handle)
        self._actors.append(actor)
        self._asked[handle.begin.remote()] = (actor, None)
