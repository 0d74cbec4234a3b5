"""--json: one strictly valid JSON object a problem."""

from __future__ import annotations

import json
import math
from typing import Any

Plain = dict[str, Any]

KEYS = ("response", "answer", "steps", "stop_reason", "usage", "acceptance_rate", "degraded")


def line(problem: str, problem_id: str, outcome: Plain) -> str:
    """A result as one line of ASCII JSON; of k > 1 samples also the samples and the votes."""
    several = {key: outcome[key] for key in ("votes", "samples")} if len(outcome["samples"]) > 1 else {}
    about = {"problem": problem, "problem_id": problem_id}
    return json.dumps(finite({**about, **{key: outcome.get(key) for key in KEYS}, **several}), allow_nan=False) + "\n"


def finite(value: Any) -> Any:
    """The value with null in place of NaN and the infinities, which JSON has not."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value
