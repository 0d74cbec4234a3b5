"""A node of the GSI graph, around its body."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import get_callback_manager_for_config
from langgraph.constants import TAG_HIDDEN

from gsi_node.graph.state import plain_bill
from gsi_node.graph.telling import Saying
from gsi_node.spans import span
from gsi_node.step.calls import Bill, Stage, arun, discarded, run
from gsi_node.types import Plain

State = Mapping[str, Any]


class StageNode(Runnable[Any, Plain]):
    """One body for sync and async graphs: a stage runs here, or its calls are awaited, in a span; adds to `usage`. Then
    `sayings` of the state and its update are said, where anybody listens and the run is not hidden.

    forked: what of the state a fork changes, before the body and in what it writes.
    """

    def __init__(
        self,
        name: str,
        body: Callable[[State], Plain | Stage[Plain]],
        sayings: Callable[[State, Plain], tuple[Any, list[Saying]]],
        forked: Callable[[State], Plain],
    ) -> None:
        self.name = name
        self.body = body
        self.sayings = sayings
        self.forked = forked

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Plain:
        fork = self.forked(input)
        stage = self.body({**input, **fork})
        if isinstance(stage, dict):
            update = {**stage, **fork, **_unbilled()}
        else:
            with span(f"gsi.{self.name}") as tell:
                update, bill = run(stage)
                tell(_costs(bill))
            update = {**update, **fork, "usage": plain_bill(bill)}
        asked, sayings = self._sayings(input, update, config)
        for saying in sayings:
            saying.invoke(asked, config)
        return update

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Plain:
        fork = self.forked(input)
        stage = self.body({**input, **fork})
        if isinstance(stage, dict):
            update = {**stage, **fork, **_unbilled()}
        else:
            with span(f"gsi.{self.name}") as tell:
                update, bill = await arun(stage)
                tell(_costs(bill))
            update = {**update, **fork, "usage": plain_bill(bill)}
        asked, sayings = self._sayings(input, update, config)
        for saying in sayings:
            await saying.ainvoke(asked, config)
        return update

    def _sayings(self, state: State, update: Plain, config: RunnableConfig | None) -> tuple[Any, list[Saying]]:
        if not update.keys() & {"steps", "messages"}:  # most nodes; to find out who listens takes longer
            return None, []
        config = config or {}
        heard = get_callback_manager_for_config(config).handlers and TAG_HIDDEN not in (config.get("tags") or ())
        return self.sayings(state, update) if heard else (None, [])


def _unbilled() -> Plain:
    """What a body that asks no model adds to `usage`: guesses may have been dropped meanwhile."""
    bill = discarded()
    return {"usage": plain_bill(bill)} if bill else {}


def _costs(bill: Bill) -> dict[str, int]:
    """What a span says of a stage: tokens by model."""
    return {
        f"gsi.{role}.{kind}_tokens": getattr(usage, f"{kind}_tokens")
        for role, usage in bill.items()
        for kind in ("generated", "scored")
    }
