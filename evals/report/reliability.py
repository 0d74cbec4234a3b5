"""How far a reward is a probability: rewards against exact labels of steps, or against the grade of the answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import NamedTuple

import numpy as np

from evals.report import stats
from evals.report.tally import Row, decided
from gsi_node.pocket.world.check import normal
from gsi_node.pocket.world.problems import problems
from gsi_node.types import Plain

BINS = 10


class Judged(NamedTuple):
    """One reward and what is known to be true. problem: the cluster."""

    problem: str
    source: str
    reward: float
    good: bool


class Paths:
    """The acceptable texts at each position of pocket problems, by problem text, from the seeded generator."""

    def __init__(self, rows: Iterable[Row], seed: int = 0) -> None:
        size = 1 + max((row["index"] for row in rows if row["data"] == "pocket"), default=-1)
        self._texts: dict[str, list[frozenset[str]]] = {}
        for split in ("test", "validation"):
            for item in problems(split, seed, size):
                self._texts[item.problem] = [frozenset(map(normal, place)) for place in item.alternatives]

    def get(self, problem: str) -> list[frozenset[str]] | None:
        """The texts, None for a problem that the generator did not make."""
        return self._texts.get(problem)


def judged_steps(row: Row, path: Sequence[frozenset[str]]) -> Iterator[Judged]:
    """Every step whose reward was recorded, labelled by pocket's exact check: right, after right steps only.

    Candidates where the row keeps them, otherwise the committed step and the refused one.
    """
    right = True
    for place, step in enumerate(decided(row)):
        allowed = path[place] if right and place < len(path) else frozenset()
        for batch in (step, *([step["rejected"]] if step.get("rejected") else [])):
            for one in batch.get("candidates") or [batch]:
                if one.get("reward") is not None and one.get("text") is not None:
                    good = normal(one["text"]) in allowed
                    yield Judged(row["problem_id"], batch["source"], one["reward"], good)
        right = step.get("text") is not None and normal(step["text"]) in allowed


def judged_answer(row: Row) -> Iterator[Judged]:
    """The reward of a response's last step against the correctness of its answer."""
    steps = decided(row)
    if steps and steps[-1].get("reward") is not None and row["correct"] is not None:
        yield Judged(row["problem_id"], steps[-1]["source"], steps[-1]["reward"], bool(row["correct"]))


def reliability(rows: Sequence[Row], data_seed: int = 0) -> list[Plain]:
    """One entry a data set and source (draft, base): reliability by bin of reward, AUROC, Brier score, ECE.

    Problems of pocket have exact step labels; elsewhere the last step's reward is held against the answer. Brier:
    mean (r − y)². ECE: Σ_b (count_b / count) |mean reward − share good|. Bins are of equal width over [0, 1], or over
    the rewards' range where they leave it. Intervals are clustered by problem.
    """
    whole = [row for row in rows if row["error"] is None]
    paths = Paths(whole, data_seed) if any(row["data"] == "pocket" for row in whole) else None
    found: defaultdict[tuple[str, str, str], list[Judged]] = defaultdict(list)
    for row in whole:
        path = paths.get(row["problem"]) if paths and row["data"] == "pocket" else None
        kind = "answers" if path is None else "steps"
        for one in judged_answer(row) if path is None else judged_steps(row, path):
            found[(row["data"], kind, one.source)].append(one)
    return [
        {"data": data, "kind": kind, "source": source, **_curve(judged)}
        for (data, kind, source), judged in sorted(found.items())
    ]


def _curve(judged: Sequence[Judged]) -> Plain:
    rewards = np.asarray([one.reward for one in judged], dtype=np.float64)
    good = np.asarray([one.good for one in judged], dtype=np.float64)
    low, high = min(0.0, float(rewards.min())), max(1.0, float(rewards.max()))
    edges = np.linspace(low, high, BINS + 1)
    places = np.clip(np.searchsorted(edges, rewards, side="right") - 1, 0, BINS - 1)
    bins: list[Plain] = []
    for b in np.unique(places):
        inside = places == b
        sums: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for i in np.flatnonzero(inside).tolist():
            sums[judged[i].problem][0] += judged[i].good
            sums[judged[i].problem][1] += 1
        share = stats.proportion([s for s, _ in sums.values()], [c for _, c in sums.values()])
        about = {"low": float(edges[b]), "high": float(edges[b + 1]), "mean_reward": float(rewards[inside].mean())}
        bins.append({**about, "count": int(inside.sum()), "good": asdict(share)})
    error = sum(b["count"] * abs(b["mean_reward"] - b["good"]["value"]) for b in bins) / len(judged)
    return {
        "count": len(judged),
        "good": float(good.mean()),
        "auroc": stats.auroc(rewards, good),
        "brier": float(np.square(rewards - good).mean()),
        "ece": error,
        "bins": bins,
    }
