"""Any file of JSON lines with `problem` and `answer`; with `choices` the answer is a letter or an index.

`kind` may choose another grader ("exact", "olympiad"), `meta` what it needs, for instance {"rel_tol": 0.01}.
"""

from __future__ import annotations

from evals.data.layouts import choice
from evals.data.layouts.base import Reading, SetRow, first, plain, question
from gsi_node.errors import ConfigError, shown

KINDS = ("math", "olympiad", "exact")


def read(row: SetRow) -> Reading:
    if row.get("choices") is not None:
        return choice.reading(question(row), row["choices"], first(row, "answer"))
    kind, meta = row.get("kind", "math"), row.get("meta", {})
    if kind not in KINDS:
        raise ConfigError(f"kind must be one of {', '.join(KINDS)} (or give choices), but it is {shown(kind)}")
    if not isinstance(meta, dict):
        raise ConfigError(f"meta must be an object, but it is {shown(meta)}")
    return Reading(question(row), plain(first(row, "answer")), kind, meta)
