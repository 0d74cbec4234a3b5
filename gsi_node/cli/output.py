"""--json: one strictly valid JSON object a problem."""

from __future__ import annotations

import json

from gsi_node.cli.problems import MathProblem
from gsi_node.host.strict_json import finite
from gsi_node.types import Plain

KEYS = ("response", "answer", "steps", "stop_reason", "usage", "acceptance_rate", "degraded")


def line(problem: MathProblem, outcome: Plain) -> str:
    """A result as one line of ASCII JSON; of k > 1 samples also the samples and the votes."""
    several = {key: outcome[key] for key in ("votes", "samples")} if len(outcome["samples"]) > 1 else {}
    return _written({**_about(problem), **{key: outcome.get(key) for key in KEYS}, **several})


def failure(problem: MathProblem, why: str) -> str:
    """The line of a problem without a result."""
    return _written({**_about(problem), "error": why})


def _about(problem: MathProblem) -> Plain:
    asked = {} if problem.asked is None else {"asked": problem.asked}
    return {"problem": problem.text, "problem_id": problem.problem_id, **asked}


def _written(record: Plain) -> str:
    return json.dumps(finite(record), allow_nan=False) + "\n"
