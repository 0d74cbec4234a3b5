"""What a person does at a past checkpoint inside a node that is mounted with checkpointer=None: LangGraph drops it.

Rewound there, it runs the whole node again, in a namespace of another task; the config that was asked for still names
the old one. At the root, or with checkpointer=True, the node goes on from that checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.constants import CONFIG_KEY_CHECKPOINTER
from langgraph.runtime import get_runtime

from gsi_node.errors import ResumeMismatch
from gsi_node.graph.context import forks


class Past(NamedTuple):
    """A checkpoint, and who keeps it."""

    saver: BaseCheckpointSaver[str]
    config: RunnableConfig


def left_behind(config: RunnableConfig | None) -> list[Past]:
    """The checkpoints of this node that a call was to go on from, and does not: those of other tasks."""
    asked = ensure_config(config)["configurable"]
    here = asked["checkpoint_ns"]
    return [
        Past(asked[CONFIG_KEY_CHECKPOINTER], _at(asked["thread_id"], space, checkpoint))
        for space, checkpoint in asked.get("checkpoint_map", {}).items()
        if space not in ("", here) and _nodes_of(space) == _nodes_of(here)
    ]


def check_rewind(past: Sequence[Past]) -> None:
    """Raises ResumeMismatch where a person edited one of those, or forks at it."""
    for one in past:
        _refuse(one.saver.get_tuple(one.config))


async def acheck_rewind(past: Sequence[Past]) -> None:
    """The same, awaited."""
    for one in past:
        _refuse(await one.saver.aget_tuple(one.config))


def _at(thread: str, space: str, checkpoint: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": space, "checkpoint_id": checkpoint}}


def _refuse(found: CheckpointTuple | None) -> None:
    edited = found is not None and found.metadata.get("source") == "update"
    if edited or forks(get_runtime().context):
        raise ResumeMismatch(
            f"{'an edit' if edited else 'a fork'} at a past checkpoint inside of this node would be lost: it is "
            "mounted with checkpointer=None, and LangGraph would run it again from its beginning. Edit it where it "
            "stopped last and go on by the thread_id alone, fork at the parent's own checkpoint before it, or compile "
            "it with checkpointer=True"
        )


def _nodes_of(space: str) -> list[str]:
    """The names of the nodes in a namespace, without their tasks' ids."""
    return [part.partition(":")[0] for part in space.split("|")]
