"""MATH500: `problem` and `answer` in LaTeX; the answer is also the last box of `solution`."""

from __future__ import annotations

from evals.data.layouts.base import Hub, Layout, Reading, SetRow, first, plain, question


def read(row: SetRow) -> Reading:
    return Reading(question(row), plain(first(row, "answer")), "math", {})


LAYOUT = Layout("math500", Hub("HuggingFaceH4/MATH-500", None, "test"), read)
