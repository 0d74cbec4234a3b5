"""python -m gsi_node.tools.bench_reward: what a step costs a process reward model early and late in a response.

Prints, for step 5 and step 30 of one response, the median seconds that the rewards of n candidates take when the steps
before were rewarded too, as in a run; the seconds they take with nothing cached (the prefix is then computed once for
all candidates); and the ratio.
"""

from __future__ import annotations

import os
import statistics
import time
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from rich.table import Table

from gsi_node.errors import SpecError
from gsi_node.host.options import positive
from gsi_node.host.screen import screen
from gsi_node.host.shell import Parser, ending
from gsi_node.specs.load import load_reward
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


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m gsi_node.tools.bench_reward", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--reward", default="pocket", help="reward spec of a model in process (default: pocket)")
    parser.add_argument("--n", type=positive, default=8, help="candidates a step")
    parser.add_argument("--repeats", type=positive, default=9, help="how often each timing is repeated")
    options = parser.parse_args(arguments)
    from gsi_node.rewards.prm.in_process import TransformersPRM

    reward = load_reward(options.reward)
    if not isinstance(reward, TransformersPRM):
        raise SpecError(f"--reward {options.reward}: only a model in process can be timed here, such as prm:FOLDER")
    found = {number: step_seconds(reward, number, options.n, options.repeats) for number in (5, 30)}
    table = Table("step", "tokens before", "seconds", "from scratch", "ratio", title=f"{reward.name}, n = {options.n}")
    for number, (warm, cold, tokens) in found.items():
        table.add_row(str(number), str(tokens), f"{warm:.4f}", f"{cold:.4f}", f"{warm / cold:.2f}")
    table.add_section()
    table.add_row("30 to 5", "", f"{found[30][0] / found[5][0]:.2f}", f"{found[30][1] / found[5][1]:.2f}", "")
    screen().show(table)
    return 0


if __name__ == "__main__":
    with ending():
        raise SystemExit(main())
