"""Made-up rows in the shape that `evals run` writes, with known truths, for the tests of what reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evals.rows.lines import row_of
from evals.rows.row import Row
from evals.rows.sealed import sealed
from evals.run.config import OWN
from gsi_node.host.strict_json import finite
from gsi_node.pocket.world.problems import PocketProblem, problems
from gsi_node.step.config import GSIConfig
from gsi_node.types import Plain

SKILL = {"gsi": 0.8, "gsi-ic": 0.82, "rsd-n": 0.72, "sbon-draft": 0.55, "sbon-base": 0.84, "draft": 0.35, "base": 0.78}
RATES = {"gsi": 0.45, "gsi-ic": 0.5, "rsd-n": 0.6}


def candidate(text: str, good: bool, rng: np.random.Generator, source: str) -> Plain:
    """One candidate with a reward that knows a little."""
    reward = float(np.clip(rng.beta(6, 2) if good else rng.beta(2, 5), 0, 1))
    log_prob = float(-rng.exponential(2.0))
    ratio = float(rng.normal(0.5 if good else -2.0, 1.0)) if source == "draft" else None
    return {
        "text": text,
        "reward": reward,
        "log_prob_draft": log_prob if source == "draft" else None,
        "log_prob_base": log_prob + (ratio or 0.0),
        "log_ratio": ratio,
        "log_ratio_error": 0.0 if ratio is not None else None,
        "tilted_reward": None if ratio is None else reward + ratio / 20,
        "n_tokens": 4 + len(text) // 3,
    }


def batch(text: str, good: bool, n: int, rng: np.random.Generator, source: str, keep: bool) -> Plain:
    """A step record of n candidates whose first is chosen."""
    wrong = text.rstrip("\n") + " (?)\n\n"
    chosen = candidate(text if good else wrong, good, rng, source)
    others = [candidate(text if g else wrong, g, rng, source) for g in rng.random(n - 1) < 0.6]
    weights = np.exp([20 * c["reward"] + (c["log_ratio"] or 0) for c in (chosen, *others)])
    shares = weights / weights.sum()
    record = {
        **chosen,
        "source": source,
        "ess": float(1 / np.square(shares).sum()),
        "log_mean_weight": float(np.log(weights.mean())),
        "n_candidates": n,
    }
    if keep:
        record["candidates"] = [chosen, *others]
    return record


def steps(item: PocketProblem, right: bool, method: str, n: int, rng: np.random.Generator, keep: bool) -> list[Plain]:
    """The decided steps of one response: all right, or wrong from some step on."""
    wrong_at = len(item.solution) if right else int(rng.integers(len(item.solution)))
    made = []
    for place, line in enumerate(item.solution):
        text = line if place == len(item.solution) - 1 else line + "\n\n"
        good = place < wrong_at
        drafts = method not in ("base", "sbon-base")
        if drafts and rng.random() < RATES.get(method, 1.0):
            made.append({**batch(text, good, n, rng, "draft", keep), "accepted": True})
        elif drafts:
            refused = {**batch(text, good and rng.random() < 0.5, n, rng, "draft", keep), "accepted": False}
            made.append({**batch(text, good, n, rng, "base", keep), "accepted": False, "rejected": refused})
        else:
            made.append({**batch(text, good, n, rng, "base", keep), "accepted": True})
    return made


def row(
    item: PocketProblem, index: int, method: str, n: int, seed: int, skill: float, keep: bool, **fields: Any
) -> Plain:
    """One row; fields replace what it says."""
    rng = np.random.default_rng([index, n, seed, sum(map(ord, method))])
    right = bool(rng.random() < skill)
    made = steps(item, right, method, n, rng, keep)
    generated = {
        role: sum(s["n_tokens"] * n for s in made if s["source"] == role or (role == "draft" and "rejected" in s))
        for role in ("draft", "base")
    }
    spent = {"draft": generated["draft"] * 1e-4, "base": generated["base"] * 3e-4, "reward": 2e-3 * n * len(made)}
    usage = {
        role: {
            "generated_tokens": generated.get(role, 0),
            "scored_tokens": 0 if role == "draft" else 30 * n,
            "calls": len(made),
            "seconds": spent[role],
        }
        for role in spent
    }
    response = "".join(s["text"] for s in made)
    return {
        "schema": 2,
        "data": "pocket",
        "index": index,
        "problem_id": f"pocket-{index}",
        "problem": item.problem,
        "gold": item.answer,
        "method": method,
        "n": n,
        "seed": seed,
        "temperature": 0.7,
        "correct": right,
        "ungraded": None,
        "predicted": item.answer if right else "0",
        "reason": None if right else "another answer",
        "response": response,
        "stop_reason": "eos",
        "acceptance_rate": float(np.mean([s["accepted"] for s in made])),
        "steps": made,
        "usage": usage,
        "flops": {"draft": 4e5 * generated["draft"] + 1.0, "base": 2e6 * generated["base"] + 1.0, "reward": 1e6 * n},
        "seconds": sum(spent.values()) * 0.9,
        "models_seconds": sum(spent.values()) * 0.8,
        "concurrency": 1,
        "workers": 1,
        "peak_memory_bytes": None,
        "calibration": None,
        "error": None,
        "worker": "main",
        **fields,
    }


def campaign(
    size: int = 30,
    methods: Sequence[str] = ("gsi", "rsd-n", "sbon-base"),
    ns: Sequence[int] = (1, 4),
    seeds: Sequence[int] = (0, 1),
    *,
    keep: bool = True,
    **fields: Any,
) -> Iterator[Plain]:
    """Rows of a whole run; problems differ in difficulty, so that seeds of one problem are alike."""
    for index, item in enumerate(problems("test", 0, size)):
        hard = float(np.random.default_rng(index).normal(0, 2))
        for method in methods:
            for n in ns:
                logit = np.log(SKILL[method] / (1 - SKILL[method])) + hard + 0.25 * np.log2(n)
                for seed in seeds:
                    yield row(item, index, method, n, seed, float(1 / (1 + np.exp(-logit))), keep, **fields)


def failed(one: Plain) -> Plain:
    """The same row, had the problem failed."""
    nothing: Plain = dict.fromkeys(("correct", "predicted", "reason", "stop_reason", "acceptance_rate"))
    error = {"type": "BackendUnavailable", "message": "the server is down"}
    return {**one, **nothing, "response": "", "steps": [], "usage": {}, "flops": {}, "seconds": 0.1, "error": error}


def config_of(**fields: Any) -> Plain:
    """What config.json of a run over such rows says, but for `fields`."""
    settings = GSIConfig().model_dump()
    return {
        "schema": 2,
        "data": "pocket",
        "limit": None,
        "split": "test",
        "data_seed": 0,
        "problems": 30,
        "problems_digest": "0" * 32,
        "methods": ["gsi"],
        "n": [1, 4],
        "seeds": [0, 1],
        "record": "candidates",
        "share_samples": False,
        "grading_seconds": 5.0,
        "vote_seconds": 60.0,
        "specs": {role: f"pocket:{role}" for role in ("draft", "base", "reward")},
        "config": {name: value for name, value in settings.items() if name not in OWN},
        "fingerprints": {role: role for role in ("draft", "base", "reward")},
        "sampling_law": 2,
        "made": [{"version": "0.1.0", "commit": None, "machine": "a machine", "date": "2026-11-30T09:00:00+00:00"}],
        **fields,
    }


def line_of(row: Plain) -> bytes:
    """The line of a row that may be none."""
    return sealed(json.dumps(finite({"schema": 2, **row}), allow_nan=False).encode())


def typed(rows: Iterable[Plain]) -> list[Row]:
    """The rows as they are read."""
    return [row_of(line_of(row), "here")[0] for row in rows]


def write(folder: Path, rows: Iterator[Plain] | Sequence[Plain], config: Plain | None = None) -> Path:
    """A run's folder with these rows, and `config` over what config_of gives."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.jsonl").write_bytes(b"".join(map(line_of, rows)))
    text = json.dumps(config_of(**(config or {})), indent=1)
    (folder / "config.json").write_bytes(sealed(text.encode(), lines=True))
    return folder
