"""`gsi bench --rewards`: what a step costs a process reward model early and late in a response.

Prints, for step 5 and step 30 of one response, the median seconds that the rewards of n candidates take when the steps
before were rewarded too, as in a run; the seconds they take with nothing cached (the prefix is then computed once for
all candidates); and the ratio.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from rich.table import Table

from gsi_node.errors import SpecError
from gsi_node.protocols import Reward
from gsi_node.types import Prefix, Step

if TYPE_CHECKING:
    from gsi_node.rewards.prm.in_process import TransformersPRM

PROBLEM = "12 * (7 + 5) = "


def candidates(number: int, n: int) -> list[Step]:
    """n different candidates of step `number`, of equal length."""
    texts = (f"7 + {i:02d} = {7 + i:02d}, so {number:02d} + 1 is more.\n\n" for i in range(n))
    return [Step(text, (), 0.0, False) for text in texts]


def step_seconds(reward: TransformersPRM, number: int, n: int, repeats: int) -> tuple[float, float, int]:
    """(seconds of step `number` in a run, seconds from scratch, tokens of its prefix); medians of `repeats`."""
    prefix = Prefix(PROBLEM, tuple(candidates(k, 1)[0] for k in range(1, number)))
    steps = candidates(number, n)
    warm, cold = [], []
    for _ in range(repeats + 1):
        reward.close()
        started = time.perf_counter()
        reward(prefix, steps)
        cold.append(time.perf_counter() - started)
        reward.close()
        reward(Prefix(PROBLEM, prefix.steps[:-1]), candidates(number - 1, n))
        started = time.perf_counter()
        reward(prefix, steps)
        warm.append(time.perf_counter() - started)
    return statistics.median(warm[1:]), statistics.median(cold[1:]), len(reward.prefix_ids(prefix))


def table(reward: Reward, n: int, repeats: int) -> Table:
    """Steps 5 and 30, warm and cold. Raises SpecError for a reward that is no model in process."""
    from gsi_node.rewards.prm.in_process import TransformersPRM

    if not isinstance(reward, TransformersPRM):
        raise SpecError(
            f"--reward: only a model in process can be timed here, such as prm:FOLDER, got a {type(reward).__name__}"
        )
    found = {number: step_seconds(reward, number, n, repeats) for number in (5, 30)}
    made = Table("step", "tokens before", "seconds", "from scratch", "ratio", title=f"{reward.name}, n = {n}")
    for number, (warm, cold, tokens) in found.items():
        made.add_row(str(number), str(tokens), f"{warm:.4f}", f"{cold:.4f}", f"{warm / cold:.2f}")
    made.add_section()
    made.add_row("30 to 5", "", f"{found[30][0] / found[5][0]:.2f}", f"{found[30][1] / found[5][1]:.2f}", "")
    return made
