"""One transformers model for all callers: their requests go to one thread, which plans them into common forwards.

worker.py is the thread, schedule.py the plan, decode.py samples rows, runner.py runs forwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor
from transformers import PreTrainedModel

from gsi_node.ends import StepEnds
from gsi_node.engine.requests import DrawnRows, FeedRequest, HearRows, SampleRequest
from gsi_node.engine.runner import Runner
from gsi_node.engine.schedule import Scheduler
from gsi_node.engine.worker import EngineThread
from gsi_node.types import Ids, Key, SamplingLaw


class Engine:
    """cache_bytes bounds the prefix cache, batch_bytes what one batch may need, most_waiting the requests that wait.
    graphs: decode by CUDA graphs, where the model is on CUDA and lets itself be recorded."""

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        cache_bytes: int,
        batch_bytes: int = 2 << 30,
        most_waiting: int = 1024,
        graphs: bool = True,
    ) -> None:
        self.runner = Runner(model, cache_bytes=cache_bytes, batch_bytes=batch_bytes, graphs=graphs)
        self.model, self.cache = self.runner.model, self.runner.cache
        self.context_length = self.runner.context_length
        self.schedule = Scheduler(self.runner)
        self.worker = EngineThread(self.schedule.turn, self._reset, most_waiting, self.runner.device)

    @property
    def findings(self) -> tuple[str, ...]:
        """What its user should know by now."""
        recorder = self.runner.recorder
        return () if recorder is None or recorder.given_up is None else (recorder.given_up,)

    def draw(
        self,
        ids: Ids,
        n: int,
        key: Key,
        law: SamplingLaw,
        *,
        limit: int,
        ends: StepEnds,
        size: int,
        hear: HearRows | None = None,
    ) -> DrawnRows:
        """n sampled rows after the prefix `ids`, each (token ids, their log-probabilities); see `SampleRequest`."""
        request = SampleRequest(ids, n, key, law, limit=limit, ends=ends, size=size, hear=hear)
        self.worker.submit(request)
        return request.result()

    def continuations(
        self,
        ids: Ids,
        rows: Sequence[Ids],
        read: Callable[[Tensor, range], None],
        *,
        spare: int = 0,
        most: int | None = None,
    ) -> None:
        """Feed every row after the context of `ids`, in company of other callers' rows; row = (x_P, continuation…).

        read(logits (b, L, labels), which): called by the engine's thread, for rows `which`, ascending; what L has
        beyond a row's own length is padding. Where memory ran out it is called again for rows it has read.
        spare: tokens at the end of a row that the next context will not have.
        most: positions (rows × longest row) that one forward may have.
        """
        request = FeedRequest(ids, rows, read, spare=spare, most=most)
        self.worker.submit(request)
        request.result()

    def _reset(self) -> None:
        """For the worker: no work is under way any more."""
        self.schedule.reset()
        self.runner.reset()
