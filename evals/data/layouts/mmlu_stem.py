"""MMLU, the STEM subjects: `choices` and the index of the right one."""

from __future__ import annotations

from evals.data.layouts import choice
from evals.data.layouts.base import Hub, Layout, Reading, SetRow, first, question


def read(row: SetRow) -> Reading:
    return choice.reading(question(row), first(row, "choices"), first(row, "answer"))


LAYOUT = Layout("mmlu_stem", Hub("TIGER-Lab/MMLU-STEM", None, "test"), read)
