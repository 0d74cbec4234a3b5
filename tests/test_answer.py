"""last_boxed against its definition: of all boxes whose braces match, the one that begins last."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from gsi_node.answer import last_boxed

PIECES = ("\\boxed{", "\\boxed {", "{", "}", "\\{", "\\}", "\\\\", "1", " ", "\n")


def defined(text: str) -> str | None:
    """From the last beginning of a box to the first, count braces forward; an escaped character is no brace."""
    escaped = [False] * len(text)
    for index in range(1, len(text)):
        escaped[index] = text[index - 1] == "\\" and not escaped[index - 1]
    for start in reversed([i for i in range(len(text)) if text.startswith("\\boxed", i) and not escaped[i]]):
        rest = text[start + 6 :]
        depth, opened = 0, start + 6 + len(rest) - len(rest.lstrip())
        if not text.startswith("{", opened):
            continue
        for end in range(opened, len(text)):
            depth += 0 if escaped[end] else {"{": 1, "}": -1}.get(text[end], 0)
            if depth == 0:
                return text[opened + 1 : end].strip()
    return None


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_the_last_complete_box_is_that_of_the_definition(text: str) -> None:
    assert last_boxed(text) == defined(text)


def test_boxes_that_never_close_cost_a_time_linear_in_the_text() -> None:
    """A scan of the rest from every beginning would take minutes."""
    began = time.process_time()
    assert last_boxed("\\boxed{7}" + "\\boxed{" * 50_000) == "7"
    assert last_boxed("{" * 300_000 + "\\boxed{7}") == "7"
    assert time.process_time() - began < 5.0
