"""What rewards read of a response that thinks first."""

from __future__ import annotations

from dataclasses import replace

from gsi_node.types import Prefix, Step


def as_answer(prefix: Prefix, step: Step) -> tuple[Prefix, Step]:
    """x and y without the thinking, where y says something behind it; as they are while y thinks to its end.

    For rewards that know solutions alone: those judge the thinking as if it were one, and then the answer by itself.
    """
    if step.text and step.thought == len(step.text):
        return prefix, step
    if step.thought:
        return replace(prefix, steps=()), _behind(step)
    last = max((place for place, before in enumerate(prefix.steps) if before.thought), default=None)
    if last is None:
        return prefix, step
    return replace(prefix, steps=(_behind(prefix.steps[last]), *prefix.steps[last + 1 :])), step


def _behind(step: Step) -> Step:
    return replace(step, text=step.text[step.thought :].lstrip(), thought=0)
