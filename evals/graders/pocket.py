"""Pocket math: the exact answer, as the world that makes the problems grades it."""

from __future__ import annotations

from dataclasses import dataclass

from gsi_node.pocket.world.check import grade


@dataclass(frozen=True, slots=True)
class _Answer:
    answer: str
    alternatives: tuple[tuple[str, ...], ...] = ()


def equal(gold: str, predicted: str) -> tuple[bool, str | None]:
    """Whether `predicted` is the integer or fraction `gold`; `gold` may itself be a model's answer."""
    box = f"\\boxed{{{predicted}}}"
    try:
        return grade(_Answer(gold), box), None
    except (ValueError, ZeroDivisionError):
        return False, "not an integer or a fraction"
