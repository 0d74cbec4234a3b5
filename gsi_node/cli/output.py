"""--json: one strictly valid JSON object a problem."""

from __future__ import annotations

import json

from gsi_node.host.strict_json import finite
from gsi_node.types import Plain

KEYS = ("response", "answer", "steps", "stop_reason", "usage", "acceptance_rate", "degraded")


def line(problem: str, problem_id: str, outcome: Plain) -> str:
    """A result as one line of ASCII JSON; of k > 1 samples also the samples and the votes."""
    several = {key: outcome[key] for key in ("votes", "samples")} if len(outcome["samples"]) > 1 else {}
    about = {"problem": problem, "problem_id": problem_id}
    return json.dumps(finite({**about, **{key: outcome.get(key) for key in KEYS}, **several}), allow_nan=False) + "\n"
