"""GSM8K: `answer` is a worked solution that ends in "#### 1,234"; the number after the marks is the answer."""

from __future__ import annotations

from evals.data.layouts.base import Hub, Layout, Reading, SetRow, first, plain, question
from gsi_node.errors import ConfigError


def read(row: SetRow) -> Reading:
    solution, marks, answer = plain(first(row, "answer")).rpartition("####")
    if not answer.strip():
        raise ConfigError(f"nothing follows {marks!r} in the answer {solution[-60:]!r}")
    return Reading(question(row), answer.strip().replace(",", ""), "math", {})


LAYOUT = Layout("gsm8k", Hub("openai/gsm8k", "main", "test"), read)
