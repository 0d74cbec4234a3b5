"""A run of the solver in a task of its own, so that one task makes its steps and another sends them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any

from gsi_node.graph.told import Told
from gsi_node.types import Plain


class Solving:
    """graph: the compiled node. told: what may be told of it, which ends it at a stop string. within: what the run
    holds while it works. bill: gets the run's last state, however it ended. To be ended by `cancel`."""

    def __init__(
        self,
        graph: Any,
        asked: Plain,
        context: Plain,
        *,
        told: Told,
        within: AbstractAsyncContextManager[object],
        bill: Callable[[Plain], None],
    ) -> None:
        self._bill, self._told = bill, told
        self._records: asyncio.Queue[Plain | None] = asyncio.Queue()
        self._begun = asyncio.Event()
        self._task = asyncio.ensure_future(self._solve(graph, asked, context, within))
        self._task.add_done_callback(self._over)

    async def begun(self) -> None:
        """Returns when the input is read and found right. Raises what ended the run before."""
        await self._begun.wait()
        if self._task.done():
            self._task.result()

    async def records(self) -> AsyncIterator[Plain]:
        """The steps' records, each as soon as it is decided, with the text that may be told. Raises what ended the
        run."""
        while (record := await self._records.get()) is not None:
            yield record
        self._task.result()

    async def outcome(self) -> Plain:
        """The final state; at a stop string what was told until then. Raises what ended the run."""
        return await self._task

    def cancel(self) -> None:
        """End the run if it goes on: nobody wants it any more."""
        self._task.cancel()

    async def _solve(
        self, graph: Any, asked: Plain, context: Plain, within: AbstractAsyncContextManager[object]
    ) -> Plain:
        state: Plain = {}
        async with within:
            stream = graph.astream(asked, context=context, stream_mode=["custom", "values"])
            try:
                async with aclosing(stream) as events:
                    async for mode, event in events:
                        if mode == "values":
                            state = event
                            if state.get("gsi_run"):  # written by the node that reads the input; before it, empty
                                self._begun.set()
                            if self._told.stopped:
                                return self._told.outcome(state)
                        elif "gsi_step" in event and not self._told.stopped:
                            record = event["gsi_step"]
                            self._records.put_nowait({**record, "text": self._told.step(record)})
            finally:
                self._bill(state)
        return state

    def _over(self, task: asyncio.Task[Plain]) -> None:
        """Wakes whoever waits, and takes notice of an error that nobody waits for any more."""
        self._begun.set()
        self._records.put_nowait(None)
        if not task.cancelled():
            task.exception()
