"""Does a second draft help? Two against each alone, at equal n.

`python -m tests.step.drafts_measured`: closed forms on random finite spaces. `… FOLDER PROBLEMS`: on pocket math, with
the second draft in FOLDER, for which `python -m gsi_node.pocket.training.train --model draft --seed 1 --out OUT` trains
OUT/draft, the shipped one's recipe at another seed. Intervals and differences are paired, by problem.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import multinomial

from tests.oracles import Law

BETA, TEXTS, INSTANCES, SHARE = 4.0, "abcd", 100, 0.2
BETA_POCKET, POOL, AT_ONCE = 20.0, 64, {"max_concurrency": 16}


def say(line: str, numbers: Sequence[float] = ()) -> None:
    """A row of a table."""
    sys.stdout.write(f"| {' | '.join([line, *(f'{number:.3f}' for number in numbers)])} |\n")
    sys.stdout.flush()


def spaces() -> list[tuple[Law, Law, Law, Law]]:
    """Two drafts and a base, each a symmetric Dirichlet of 1/2, mixed with a little of all steps; rewards on [0, 1]."""
    rng, made = random.Random(0), []

    def simplex() -> Law:
        raw = [rng.gammavariate(0.5, 1.0) for _ in TEXTS]
        return {t: 0.98 * x / sum(raw) + 0.02 / len(TEXTS) for t, x in zip(TEXTS, raw, strict=True)}

    for _ in range(INSTANCES):
        made.append((simplex(), simplex(), simplex(), {t: rng.random() for t in TEXTS}))
    return made


def bisected(accepted: Callable[[float], float], low: float = -40.0, high: float = 40.0) -> float:
    """The point at which a falling acceptance is 1 − SHARE."""
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if accepted(middle) >= 1.0 - SHARE else (low, middle)
    return low


def compositions(n: int, size: int = len(TEXTS)) -> NDArray[np.int64]:
    """How often each step stands in a batch of n, a row a batch."""
    if size == 1:
        return np.array([[n]])
    rows = (np.insert(compositions(n - k, size - 1), 0, k, axis=1) for k in range(n + 1))
    return np.concatenate(list(rows))


def batches(ps: Any, counts: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """All batches of n_j steps of each draft j, and their probabilities."""
    found, chance = np.zeros((1, len(TEXTS)), np.int64), np.ones(1)
    for p, count in zip(ps, counts, strict=True):
        drawn = compositions(count)
        chance = np.outer(chance, multinomial.pmf(drawn, count, p)).ravel()
        found = (found[:, None] + drawn).reshape(-1, len(TEXTS))
    return found, chance


def measured(ps: Sequence[Law], counts: Sequence[int], b: Law, r: Law) -> tuple[float, float, float]:
    """KL of gsi-no-fallback; KL of gsi-ic with c for a fallback rate of SHARE; the fallback rate of gsi at u = 0.5.

    Over all batches; its own fallback draws n steps of the base. In nats.
    """
    laws, base, rewards = (np.array([[law[t] for t in TEXTS] for law in given]) for given in (ps, [b], [r]))
    n, tilt = sum(counts), np.exp(BETA * rewards[0])
    mixture = np.array(counts) @ laws / n
    w, target = tilt * base[0] / mixture, tilt * base[0] / (tilt @ base[0])
    (found, chance), (own, own_chance) = batches(laws, counts), batches(base, [n])
    shares = found * w / (found @ w)[:, None]
    best = own_chance @ (own * tilt / (own @ tilt)[:, None])
    tilted = rewards[0] + np.log(base[0] / mixture) / BETA

    def kept(log_c: float) -> Any:
        return chance * np.minimum(1.0, np.exp(np.log(found @ w / n) - log_c))

    def kl(law: NDArray[np.float64]) -> float:
        return float(target @ np.log(target / law))

    accepted = kept(bisected(lambda log_c: float(kept(log_c).sum())))
    ic = accepted @ shares + (1.0 - accepted.sum()) * best
    return kl(chance @ shares), kl(ic), 1.0 - float(chance @ shares @ (tilted >= 0.5))


def on_tables() -> None:
    """Means over the spaces; "better", "worse": the draft with the lower and the higher number of each space."""
    say("n | drafts | KL, gsi-no-fallback | KL, gsi-ic at fallback 0.2 | fallback, gsi at u = 0.5")
    say("--- | --- | --- | --- | ---")
    for n in (2, 4, 8, 16):
        rows = []
        for first, second, b, r in spaces():
            alone = [measured([p], [n], b, r) for p in (first, second)]
            rows.append((*alone, measured([first, second], [n // 2, n // 2], b, r)))
        for name, pick in (("better alone", min), ("worse alone", max)):
            means = [fmean(pick(one[k], other[k]) for one, other, _ in rows) for k in range(3)]
            say(f"{n} | {name}", means)
        say(f"{n} | both", [fmean(both[k] for _, _, both in rows) for k in range(3)])
        for name, pick in (("better than the better", min), ("better than the worse", max)):
            wins = [fmean(both[k] < pick(one[k], other[k]) for one, other, both in rows) for k in range(3)]
            say(f"{n} | spaces where both are {name}", wins)


class Told(NamedTuple):
    """Of one arm, a row a problem: decided steps, refused ones, whether the answer is right; and KL at one prefix."""

    steps: NDArray[np.float64]
    refused: NDArray[np.float64]
    right: NDArray[np.float64]
    kl: NDArray[np.float64]

    def means(self, some: NDArray[np.intp]) -> NDArray[np.float64]:
        """Fallback rate of the steps of some problems, mean KL, accuracy."""
        rate = self.refused[some].sum(-1) / self.steps[some].sum(-1)
        return np.stack([rate, self.kl[some].mean(-1), self.right[some].mean(-1)], -1)


def shown(values: NDArray[np.float64], drawn: NDArray[np.float64]) -> list[str]:
    """Each with its 95 % interval, from the same problems drawn anew."""
    lows, highs = np.quantile(drawn, (0.025, 0.975), axis=0)
    return [f"{v:.3f} [{low:.3f}, {high:.3f}]" for v, low, high in zip(values, lows, highs, strict=True)]


def selected_kl(laws: Sequence[Any], counts: Sequence[int], b: Any, r: Any, draws: int = 4000) -> float:
    """KL(t ‖ q_n) in nats of gsi-no-fallback over a finite space (docs/math.md §10); its expectations from `draws`."""
    rng, n = np.random.default_rng(0), sum(counts)
    m = sum(count / n * p for count, p in zip(counts, laws, strict=True))
    w, t = np.exp(BETA_POCKET * (r - r.max())) * b / m, np.exp(BETA_POCKET * (r - r.max())) * b
    t = t / t.sum()
    q = np.zeros_like(t)
    for j, p in enumerate(laws):
        if counts[j]:
            rest = [count - (j == k) for k, count in enumerate(counts)]
            others = sum(rng.multinomial(k, law, draws) @ w for k, law in zip(rest, laws, strict=True) if k)
            q += counts[j] * p * w * (1.0 / (w + np.broadcast_to(others, (draws,))[:, None])).mean(0)
    return float(np.sum(t * np.log(t * q.sum() / q), where=t > 0.0))


def space(models: Sequence[Any], reward: Any, prefix: Any, law: Any, i: int) -> tuple[list[Any], Any]:
    """The laws of drafts and base, shape (steps,), over all steps that 64 draws of each gave, and the rewards."""
    from gsi_node.types import Key

    drawn = [s for k, model in enumerate(models) for s in model.sample(prefix, POOL, Key(0, str(i), k, "pool"), law)]
    steps = list({step.token_ids: step for step in drawn}.values())
    laws = [np.exp([score.log_prob for score in model.score(prefix, steps, law)]) for model in models]
    return [p / p.sum() for p in laws], np.array(reward(prefix, steps))


def on_pocket(folder: Path, size: int) -> None:
    """gsi at the paper's settings, the shipped draft and the one in `folder`, on the same problems: fallback rate,
    accuracy, and KL of gsi-no-fallback behind the beginning of a response, of which problem i has i mod (its steps)."""
    from gsi_node import GSIConfig, compile_gsi
    from gsi_node.pocket.world.problems import grade, problems
    from gsi_node.specs.load import load_parts
    from gsi_node.types import Prefix, Step

    parts = load_parts({"base": "pocket:base", "reward": "pocket"})
    first, second = (load_parts({"draft": spec})["draft"] for spec in ("pocket:draft", f"hf:{folder}"))
    asked, config = list(problems("test", 0, size)), GSIConfig(n=4, max_steps=12, max_step_tokens=64)
    spaces: list[Any] = []
    some = np.random.default_rng(0).integers(size, size=(2000, size))
    say("n | drafts | fallback | KL, gsi-no-fallback | accuracy")
    say("--- | --- | --- | --- | ---")
    for n in (4, 8, 16):
        told = {}
        for name, counts in (("shipped", (n, 0)), ("second", (0, n)), ("both", (n // 2, n // 2))):
            given = [(model, count) for model, count in zip((first, second), counts, strict=True) if count]
            graph = compile_gsi(**parts, draft=given, config=config.model_copy(update={"n": n}))
            outs = graph.batch([{"problem": p.problem, "problem_id": i} for i, p in enumerate(asked)], AT_ONCE)
            if not spaces:
                for i, (problem, out) in enumerate(zip(asked, outs, strict=True)):
                    done = out["steps"][: i % len(out["steps"])]
                    committed = tuple(Step(s["text"], tuple(s["token_ids"]), 0.0, False) for s in done)
                    models, prefix = (first, second, parts["base"]), Prefix(problem.problem, committed)
                    spaces.append(space(models, parts["reward"], prefix, config.law(), i))
            rows = [[len(out["steps"]), sum(not s["accepted"] for s in out["steps"])] for out in outs]
            right = [grade(problem, out["response"]) for problem, out in zip(asked, outs, strict=True)]
            kls = [selected_kl(laws[:2], counts, laws[2], r) for laws, r in spaces]
            steps, refused = np.array(rows, np.float64).T
            told[name] = Told(steps, refused, np.array(right, np.float64), np.array(kls))
            found, drawn = told[name].means(np.arange(size)), told[name].means(some)
            say(" | ".join([str(n), name, *shown(found, drawn)]))
        for name in ("shipped", "second"):
            found, drawn = (told["both"].means(w) - told[name].means(w) for w in (np.arange(size), some))
            say(" | ".join([str(n), f"both − {name}", *shown(found, drawn)]))


if __name__ == "__main__":
    if sys.argv[1:]:
        on_pocket(Path(sys.argv[1]), int(sys.argv[2]))
    else:
        on_tables()
