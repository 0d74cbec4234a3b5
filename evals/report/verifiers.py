"""How well rewards tell right responses of a run from wrong ones, and what they cost.

  python -m evals run --data gsm8k --limit 25 --methods sbon-base --n 1 --seeds 0,1,2,3,4,5,6,7 … --out runs/responses
  python -m evals verifiers runs/responses --reward verifier --reward 'generative:hf:/models/base@yesno?max_tokens=512'

A reward is asked about each graded response as one step, its thinking left out: AUROC against the grade, with intervals
clustered by problem. Every answer is kept in FOLDER/verdicts.jsonl; killed, the same command goes on.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from evals.options import positive
from evals.report import stats
from evals.report.cells import UNKNOWN, estimate, known
from evals.report.text_table import TextTable
from evals.rows.appender import Appender
from evals.rows.lines import read_rows
from evals.rows.row import Row, said
from evals.rows.verdicts import VERDICTS, VerdictLine, read_verdicts
from evals.run.guard import guarded
from evals.run.progress import RunMeter
from gsi_node import load_reward
from gsi_node.errors import ConfigError, NoVerdict
from gsi_node.host.options import named_path
from gsi_node.protocols import Reward, ask, close, written_of
from gsi_node.types import Prefix, Step

COLUMNS = ["reward", "responses", "right", "AUROC", "none", "tokens written", "chains without verdict", "CPU s"]
NOTE = (
    "AUROC with 95 % intervals clustered by problem, over the responses that got a reward; none: how many got none. "
    "Tokens written and CPU seconds of one process are means a response."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `verifiers`."""
    parser.add_argument("folder", type=named_path, help="a run's folder, as given to `evals run --out`")
    parser.add_argument("--reward", action="append", required=True, metavar="SPEC", help="give it once for each reward")
    parser.add_argument(
        "--concurrency", type=positive, default=8, metavar="C", help="responses asked about at a time (default 8)"
    )


def main(options: argparse.Namespace) -> int:
    """The exit code."""
    return guarded(lambda: _run(options.folder, options.reward, options.concurrency))


def _run(folder: Path, specs: Sequence[str], at_once: int) -> int:
    rows = [row for row in read_rows(folder) if row.standing == "graded"]
    if not rows:
        raise ConfigError(f"{folder}: no response in it is graded")
    table = TextTable(
        f"Verifiers on {folder}", COLUMNS, [_measured(folder, rows, spec, at_once) for spec in specs], [NOTE]
    )
    sys.stdout.write(table.markdown())
    return 0


def _measured(folder: Path, rows: Sequence[Row], spec: str, at_once: int) -> list[str]:
    """The line of one reward, asked about what it has not been asked before."""
    reward = load_reward(spec)
    try:
        known_lines = read_verdicts(folder)
        left = [row for row in rows if (reward.fingerprint, row.key) not in known_lines]
        with Appender(folder / VERDICTS) as file:
            for line in _asked(spec, reward, left, at_once, RunMeter(0).say):
                file.append(line.to_line())
                known_lines[line.key] = line
        return _cells(spec, rows, [known_lines[reward.fingerprint, row.key] for row in rows])
    finally:
        close(reward)


def _asked(
    spec: str, reward: Reward, rows: Sequence[Row], at_once: int, say: Callable[[str], None]
) -> Iterator[VerdictLine]:
    """What the reward says of each, `at_once` of them asked about together."""

    def value(row: Row) -> float | None:
        try:
            values: list[float] = ask(reward, "__call__", *_question(row))
        except NoVerdict:
            return None
        return values[0]

    with ThreadPoolExecutor(at_once, thread_name_prefix="gsi-verify") as pool:
        for first in range(0, len(rows), at_once):
            some, start = rows[first : first + at_once], time.process_time()
            values = list(pool.map(value, some))
            spent = (time.process_time() - start) / len(some)
            for row, found in zip(some, values, strict=True):
                prefix, [step] = _question(row)
                written = written_of(reward, prefix, step)
                yield VerdictLine(
                    reward=reward.fingerprint,
                    problem_id=row.problem_id,
                    method=row.method,
                    n=row.n,
                    seed=row.seed,
                    value=found,
                    cpu_seconds=spent,
                    written_tokens=sum(chain["tokens"] for chain in written),
                    chains=len(written),
                    without_verdict=sum(chain["good"] is None for chain in written),
                    spec=spec,
                )
            say(f"{first + len(some)} of {len(rows)} responses")


def _question(row: Row) -> tuple[Prefix, list[Step]]:
    return Prefix(row.problem), [Step(said(row), (), 0.0, True)]


def _cells(spec: str, rows: Sequence[Row], lines: Sequence[VerdictLine]) -> list[str]:
    told = [(row, line.value) for row, line in zip(rows, lines, strict=True) if line.value is not None]
    found = stats.clustered_auroc(
        [value for _, value in told], [row.correct is True for row, _ in told], [row.problem_id for row, _ in told]
    )
    chains = sum(line.chains for line in lines)
    return [
        spec,
        str(len(rows)),
        f"{sum(row.correct is True for row in rows) / len(rows):.3f}",
        estimate(found),
        str(len(rows) - len(told)),
        f"{sum(line.written_tokens for line in lines) / len(rows):.0f}" if chains else UNKNOWN,
        known(sum(line.without_verdict for line in lines) / chains if chains else None, ".3f"),
        f"{sum(line.cpu_seconds for line in lines) / len(rows):.3g}",
    ]
