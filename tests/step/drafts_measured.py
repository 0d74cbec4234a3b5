"""Does a second draft help? Two against each alone, at equal n.

`python -m tests.step.drafts_measured`: closed forms on random finite spaces. `… FOLDER PROBLEMS`: on pocket math, with
a second draft made in FOLDER: the shipped one with logits × 0.7, which is that model at a temperature 1/0.7 as high.
"""

from __future__ import annotations

import math
import random
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

from tests import oracles
from tests.oracles import Law

BETA, TEXTS, INSTANCES, SHARE, FLAT = 4.0, "abcd", 100, 0.2, 0.7


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


def measured(ps: list[Law], counts: list[int], b: Law, r: Law) -> tuple[float, float, float]:
    """KL of gsi-no-fallback; KL of gsi-ic with c for a fallback rate of SHARE; the fallback rate of gsi at u = 0.5."""
    n, target = sum(counts), oracles.step_target(b, r, BETA)
    numbers = {"m": n, "beta": BETA, "u": 0.5, "delta": 0.0}

    def accepted(method: str, log_c: float) -> float:
        return sum(oracles.several_accepted(method, ps, counts, b, r, log_c=log_c, **numbers).values())

    log_c = bisected(lambda log_c: accepted("gsi-ic", log_c))
    plain = oracles.several_law("gsi-no-fallback", ps, counts, b, r, log_c=0.0, **numbers)
    ic = oracles.several_law("gsi-ic", ps, counts, b, r, log_c=log_c, **numbers)
    return oracles.kl(target, plain), oracles.kl(target, ic), 1.0 - accepted("gsi", 0.0)


def on_tables() -> None:
    """Means over the spaces; "better", "worse": the draft with the lower and the higher number of each space."""
    say("n | drafts | KL, gsi-no-fallback | KL, gsi-ic at fallback 0.2 | fallback, gsi at u = 0.5")
    say("--- | --- | --- | --- | ---")
    for n in (2, 4):
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


def flattened(folder: Path) -> str:
    """The spec of the shipped draft with its logits × FLAT: its last norm is scaled."""
    from safetensors.torch import load_file, save_file

    import gsi_node.pocket

    source, target = Path(gsi_node.pocket.__file__).parent / "weights" / "draft", folder / "flat"
    if not target.exists():
        shutil.copytree(source, target)
        weights = load_file(target / "model.safetensors")
        weights["model.norm.weight"] = weights["model.norm.weight"] * FLAT
        save_file(weights, target / "model.safetensors", {"format": "pt"})
    return f"hf:{target}"


def on_pocket(folder: Path, size: int) -> None:
    """gsi at the paper's settings, n = 4: fallback rate, effective candidates, mean log w̄, accuracy."""
    from gsi_node import GSIConfig, compile_gsi
    from gsi_node.pocket.world.problems import grade, problems
    from gsi_node.specs.load import load_parts

    flat = flattened(folder)
    config = GSIConfig(n=4, max_steps=12, max_step_tokens=64)
    say("drafts | fallback | ess of 4 | log w̄ of a batch | accuracy")
    say("--- | --- | --- | --- | ---")
    for name, draft in (
        ("shipped", "pocket:draft"),
        ("flat", flat),
        ("both", f"pocket:draft*2 + {flat}*2"),
    ):
        graph = compile_gsi(**load_parts({"draft": draft, "base": "pocket:base", "reward": "pocket"}), config=config)
        batches, right, refused = [], 0, []
        for i, problem in enumerate(problems("test", 0, size)):
            out = graph.invoke({"problem": problem.problem, "problem_id": i})
            batches += [step.get("rejected") or step for step in out["steps"]]
            refused += [not step["accepted"] for step in out["steps"]]
            right += grade(problem, out["response"])
        means = [fmean(b["log_mean_weight"] for b in batches if b["log_mean_weight"] > -math.inf)]
        row = [fmean(refused), fmean(b["ess"] for b in batches), *means, right / size]
        say(name, row)


if __name__ == "__main__":
    if sys.argv[1:]:
        on_pocket(Path(sys.argv[1]), int(sys.argv[2]))
    else:
        on_tables()
