"""Minerva Math (OCWCourses): the answer is the last box of `solution`, or `answer` where it has been taken out.

Its numbers are measured or rounded ("4.5e33"), so decimals are compared within a relative 1e-4. That is the tolerance
of Qwen2.5-Math's evaluation (QwenLM/Qwen2.5-Math, evaluation/grader.py, `numeric_equal`), which grants it to every
number of every set; here two whole numbers must be equal, and other sets keep the stricter default.
"""

from __future__ import annotations

from evals.data.layouts.base import Hub, Layout, Reading, SetRow, first, plain, question
from gsi_node.answer import last_boxed
from gsi_node.errors import ConfigError


def read(row: SetRow) -> Reading:
    answer = row.get("answer")
    if answer is None:
        answer = last_boxed(plain(first(row, "solution")))
        if answer is None:
            raise ConfigError("the solution has no complete \\boxed{…}, and the row has no field answer")
    return Reading(question(row), plain(answer), "math", {"rel_tol": 1e-4})


LAYOUT = Layout("minerva_math", Hub("math-ai/minervamath", None, "test"), read)
