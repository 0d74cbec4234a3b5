"""OlympiadBench, the open-ended English text-only mathematics (OE_TO_maths_en_COMP).

`final_answer` is a list with one text, which may hold several answers (`is_multiple_answer`); `unit` is written apart
from it, and `error` is an absolute tolerance.
"""

from __future__ import annotations

from evals.data.layouts.base import Hub, Layout, Reading, SetRow, first, plain, question
from gsi_node.errors import ConfigError, shown


def read(row: SetRow) -> Reading:
    answers = first(row, "final_answer", "answer")
    listed = [answers] if isinstance(answers, str | int | float) else answers
    if not isinstance(listed, list):
        raise ConfigError(f"final_answer must be a list of texts, but it is {shown(listed)}")
    texts = [plain(text) for text in listed]
    if not texts:
        raise ConfigError("final_answer is an empty list")
    several = bool(row.get("is_multiple_answer")) or len(texts) > 1
    meta = {
        "several": several,
        "unit": None if not row.get("unit") else plain(row["unit"]),
        "abs_tol": _tolerance(row.get("error")),
        "type": row.get("answer_type"),
    }
    context = row.get("context")
    text = f"{context.strip()}\n\n{question(row)}" if isinstance(context, str) and context.strip() else question(row)
    return Reading(text, ", ".join(texts), "olympiad", meta)


def _tolerance(error: object) -> float | None:
    if error is None or error == "":
        return None
    try:
        return float(plain(error))
    except ValueError:
        raise ConfigError(f"error is the tolerance of the answer, a number, but it is {shown(error)}") from None


LAYOUT = Layout("olympiadbench", Hub("Hothan/OlympiadBench", "OE_TO_maths_en_COMP", "train"), read)
