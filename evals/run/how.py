"""How a plan is carried out: all that changes no row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from evals.run.plan import Task, Workplace
from evals.run.provenance import own_commit

DEFAULT_LOAD = "gsi_node.specs.load:load_part"


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """workers: processes with models of their own, or Ray's actors; concurrency: rows in flight in each; threads:
    torch's in each. ray: the address of a cluster, "local" starts one here. shard (i, k): only problems i, i + k …, in
    a file of their own. minutes: after which no row is begun. retry_errors: failed rows are made again. repair: damaged
    lines are dropped. row_seconds: a row that takes longer is a failed row. memo: rows of a problem and seed take over
    what models answered in each other (memo.py). load: "module:function" from (role, spec) to a model.
    """

    workers: int = 1
    concurrency: int = 1
    threads: int = 1
    ray: str | None = None
    shard: tuple[int, int] | None = None
    minutes: float | None = None
    retry_errors: bool = False
    repair: bool = False
    row_seconds: float | None = None
    memo: bool = False
    load: str = DEFAULT_LOAD

    def own(self, tasks: Iterable[Task]) -> list[Task]:
        """The tasks of this shard."""
        return [task for task in tasks if self.shard is None or task.place % self.shard[1] == self.shard[0]]

    def crew_size(self, rows: int) -> int:
        """No more workers than have something to do."""
        return min(self.workers, -(-rows // self.concurrency))

    def workplace(self, worker: str, workers: int) -> Workplace:
        """Where a worker's rows are made."""
        return Workplace(self.concurrency, workers, worker, self.row_seconds, own_commit(), self.memo)
