"""What a reader can open in report.html: every row, with as much of its steps as the page's size allows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from evals.report.tally import Row, Setting, quiet
from gsi_node.host.strict_json import finite
from gsi_node.types import Plain

VERDICT, ANSWER, STEPS, CANDIDATES = range(4)
LONGEST = 4000  # characters of a text shown at level ANSWER
NAMES = {"text": "t", "reward": "r", "log_ratio": "l", "tilted_reward": "rt"}
MORE = {"ess": "e", "log_mean_weight": "w", "n_candidates": "n", "source": "src"}


class Details(NamedTuple):
    """data: what the page's script reads. notes: what had to be left out."""

    data: Plain
    notes: list[str]


def details(groups: Mapping[Setting, Sequence[Row]], limit: int) -> Details:
    """Rows with their details, in about `limit` bytes of JSON.

    First every row gets its answer; then, problem by problem in their order, its steps; then their candidates.
    """
    settings = list(groups)
    rows = [(settings.index(setting), row) for setting, group in groups.items() for row in group]
    rows.sort(key=lambda pair: (pair[1]["data"], pair[1]["index"], pair[1]["problem_id"], pair[0], pair[1]["seed"]))
    places: dict[tuple[str, str], int] = {}
    problems: list[Plain] = []
    for _, row in rows:
        if (row["data"], row["problem_id"]) not in places:
            places[(row["data"], row["problem_id"])] = len(problems)
            problems.append({"id": row["problem_id"], "problem": row["problem"], "gold": row["gold"]})
    chosen, size = [VERDICT] * len(rows), len(json.dumps(problems))
    held: list[Plain | None] = [None] * len(rows)
    lengths = [0] * len(rows)
    for level in (ANSWER, STEPS, CANDIDATES):
        for place, (_, row) in enumerate(rows):
            if chosen[place] < level - 1:
                continue
            detail = _detail(row, level)
            length = len(json.dumps(detail, separators=(",", ":")))
            if size + length - lengths[place] <= limit:
                size += length - lengths[place]
                chosen[place], held[place], lengths[place] = level, detail, length
    several = len({setting.data for setting in settings}) > 1
    return Details(
        {
            "settings": [f"{s.method}, n = {s.n}" + (f" · {s.data}" if several else "") for s in settings],
            "seeds": len({row["seed"] for _, row in rows}),
            "problems": problems,
            "rows": [
                {
                    "p": places[(row["data"], row["problem_id"])],
                    "s": s,
                    "seed": row["seed"],
                    "c": "ungraded" if row.get("ungraded") is not None else row["correct"],
                    "d": d,
                }
                for (s, row), d in zip(rows, held, strict=True)
            ],
        },
        _left_out([row for _, row in rows], chosen, limit),
    )


def _detail(row: Row, level: int) -> Plain:
    found: Plain = {
        "predicted": _clip(row["predicted"]),
        "reason": _clip(row["reason"]),
        "ungraded": _clip(row.get("ungraded")),
        "stop": row["stop_reason"],
        "acceptance": row["acceptance_rate"],
        "seconds": row["seconds"],
        "quiet": quiet(row),
        "error": None if row["error"] is None else _clip(f"{row['error']['type']}: {row['error']['message']}"),
    }
    if level >= STEPS and row["steps"]:
        found["steps"] = [_step(step, level) for step in row["steps"]]
    else:
        found["response"] = _clip(row["response"])
        if row["steps"]:
            found["cut"] = "The steps were left out to bound the size of this page; results.jsonl has them."
    small: Plain = finite(found)
    return small


def _step(step: Plain, level: int) -> Plain:
    found = {short: _rounded(step.get(name)) for name, short in (NAMES | MORE).items()}
    if step.get("rejected"):
        found["x"] = _step(step["rejected"], level)
    if level >= CANDIDATES and step.get("candidates"):
        given = step["candidates"]
        found["k"] = [{short: _rounded(one.get(name)) for name, short in NAMES.items()} for one in given]
        same = [i for i, one in enumerate(given) if all(one.get(key) == step.get(key) for key in NAMES)]
        found["i"] = same[0] if same else None
    return found


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def _clip(text: str | None) -> str | None:
    if text is None or len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]}… ({len(text):,} characters)"


def _left_out(rows: Sequence[Row], chosen: Sequence[int], limit: int) -> list[str]:
    """Notes about what did not fit, and about what the run did not record."""
    notes = []
    without = sum(level < STEPS and bool(row["steps"]) for level, row in zip(chosen, rows, strict=True))
    kept = [any("candidates" in step for step in row["steps"] or ()) for row in rows]
    fewer = sum(has and level == STEPS for has, level in zip(kept, chosen, strict=True))
    size = f"this page holds about {limit / 1e6:g} MB of details (--page-megabytes)"
    if without:
        notes.append(f"The steps of {without} of {len(rows)} rows are not shown: {size}. results.jsonl has them.")
    if fewer:
        notes.append(f"The candidates of {fewer} of {len(rows)} rows are not shown: {size}. results.jsonl has them.")
    if not any(kept) and any(row["steps"] for row in rows):
        notes.append("Candidates were not recorded in this run (--record candidates keeps them).")
    return notes
