"""Steps that a person wrote into a checkpoint: told by a digest of those that the nodes wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

from gsi_node.errors import ConfigError
from gsi_node.types import Plain


def digest(steps: Sequence[Plain]) -> str:
    """What tells the texts of these steps from others."""
    texts = repr([step.get("text") for step in steps])
    return blake2b(texts.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def is_edited(state: Mapping[str, Any]) -> bool:
    """Whether the steps are others than the nodes wrote. Checkpoints of earlier versions do not tell."""
    return state.get("gsi_digest") not in (None, digest(state["steps"]))


def written_step(state: Mapping[str, Any]) -> Plain:
    """The one step that a person wrote behind the others. Raises ConfigError for other edits."""
    *before, last = state["steps"] or [None]
    if last is None or state["gsi_digest"] != digest(before):
        raise ConfigError(
            "steps: edited by hand in another way than by one step behind the last; write one, as [{'text': '…'}], and "
            "to change an earlier one write it at the checkpoint before it"
        )
    if state["stop_reason"]:
        raise ConfigError(
            f"steps: written by hand behind the end of the response ({state['stop_reason']}); write it at a checkpoint "
            "before its last step"
        )
    return dict(last)


def refuse_edits(state: Mapping[str, Any]) -> None:
    """Raises ConfigError where a step was written by hand and this node is not the one that reads it."""
    if is_edited(state):
        raise ConfigError(
            "steps: edited by hand at a checkpoint from which the graph does not go to by_hand; write the step with "
            "update_state(config, {'steps': [{'text': '…'}]}, as_node='by_hand')"
        )
