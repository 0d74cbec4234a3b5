"""Solve a data set with several methods, numbers of candidates and seeds; one row a (problem, method, n, seed).

  python -m evals run --data pocket --methods gsi,rsd-n,sbon-base --n 1,4 --limit 100 --out runs/first
  python -m evals report runs/first

Rows are appended to OUT/results.jsonl as each finishes. Killed or stopped, the same command goes on; another
configuration in the same folder is refused. Exit codes: 0 every row is there; 1 workers or the disk could not go on;
2 the call must be changed; 3 every row is there, but some failed (--retry-errors) or are ungraded (the same command
tries them again); 4 --minutes are over; 130, 143 interrupted.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from evals.data.datasets import load
from evals.options import above_zero, integer, integers, names, number, positive, shard
from evals.rows.appender import Appender
from evals.rows.lines import read_rows, results_in
from evals.rows.row import Row, RowKey, Standing
from evals.run.drive import Pool, drive
from evals.run.folder import check_folder, make, results_file
from evals.run.plan import GRADING_SECONDS, OWN, VOTE_SECONDS, Plan, Task, remaining
from evals.run.progress import Meter, span
from evals.run.resume import grade_again, mended
from evals.run.workers import DEFAULT_LOAD, ProcessPool, warm_up
from gsi_node.errors import ConfigError, GSIError
from gsi_node.host.options import set_field
from gsi_node.host.shell import complain
from gsi_node.step.config import GSIConfig
from gsi_node.step.settings import gathered, read_fields

FEW_ROWS = 500


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `run`."""
    what = parser.add_argument_group("what")
    what.add_argument(
        "--data",
        required=True,
        help="pocket, math500, olympiadbench, minerva_math, mmlu_stem, gsm8k, FILE.jsonl or rg:NAME[,size=…,seed=…]",
    )
    what.add_argument("--limit", type=positive, metavar="N", help="problems (default: all; of pocket 500)")
    what.add_argument("--split", default="test", help="part of the set (default test)")
    what.add_argument("--data-seed", type=integer, default=0, help="seed of pocket and of --limit's draw (default 0)")
    what.add_argument("--data-dir", type=Path, help="folder of the named sets (default $GSI_DATA_DIR, then the hub)")
    what.add_argument("--methods", type=names, help="with commas between (default gsi); majority-draft, -base too")
    what.add_argument("--n", type=integers, help="candidates a step, with commas between (default 16)")
    what.add_argument("--seeds", type=integers, help="with commas between (default 0)")
    what.add_argument("--draft", default="pocket:draft", metavar="SPEC")
    what.add_argument("--base", default="pocket:base", metavar="SPEC")
    what.add_argument("--reward", default="pocket", metavar="SPEC")
    what.add_argument("--config", metavar="FILE", help="JSON or TOML with fields of GSIConfig; the options above win")
    what.add_argument(
        "--set", type=set_field, action="append", default=[], metavar="FIELD=VALUE", help="any other GSIConfig field"
    )
    what.add_argument("--share-samples", action="store_true", help="all methods and n draw from the same streams")
    what.add_argument(
        "--grading-seconds",
        type=above_zero,
        default=GRADING_SECONDS,
        metavar="S",
        help=f"processor seconds of a grade (default {GRADING_SECONDS:g})",
    )
    what.add_argument(
        "--vote-seconds",
        type=above_zero,
        default=VOTE_SECONDS,
        metavar="S",
        help=f"of all that grades a majority's responses and counts its votes (default {VOTE_SECONDS:g})",
    )
    what.add_argument(
        "--record", choices=("candidates", "summary"), help=f"default candidates up to {FEW_ROWS} rows, then summary"
    )
    how = parser.add_argument_group("how")
    how.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="the run folder, such as runs/first")
    how.add_argument("--workers", type=positive, default=1, metavar="K", help="processes with models of their own")
    how.add_argument("--concurrency", type=positive, default=1, metavar="C", help="problems in flight in each")
    how.add_argument("--threads", type=positive, default=1, metavar="T", help="torch threads a process (default 1)")
    how.add_argument("--ray", metavar="ADDRESS|local", help="shard over a Ray cluster, --workers actors (extra ray)")
    how.add_argument(
        "--shard", type=shard, metavar="I/K", help="only problems I, I+K …, in a file of its own (I from 0)"
    )
    how.add_argument("--minutes", type=number, metavar="M", help="begin no row after M minutes")
    how.add_argument("--retry-errors", action="store_true", help="make failed rows again")
    how.add_argument(
        "--repair", action="store_true", help="drop damaged lines of the results (kept in dropped-lines.txt), and go on"
    )
    how.add_argument("--row-seconds", type=above_zero, metavar="S", help="a row not solved after S is a failed row")
    how.add_argument("--dry-run", action="store_true", help="show what there is to do, and stop")


def main(options: argparse.Namespace, load_part: str = DEFAULT_LOAD) -> int:
    """The exit code. load_part: "module:function" from (role, spec) to a model, for tests."""
    terminated = False

    def on_sigterm(number: int, frame: FrameType | None) -> NoReturn:
        nonlocal terminated
        terminated = True
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, on_sigterm)
    try:
        return _run(options, load_part)
    except KeyboardInterrupt:
        sys.stderr.write(f"interrupted; every finished row is kept. To go on:\n  {shlex.join(sys.orig_argv)}\n")
        return 128 + (signal.SIGTERM if terminated else signal.SIGINT)
    except ConfigError as error:
        complain(str(error))
        return 2
    except (GSIError, OSError) as error:
        complain(str(error))
        return 1
    finally:
        signal.signal(signal.SIGTERM, previous)


def plan_of(options: argparse.Namespace) -> Plan:
    """The plan of a command line, its data loaded. Raises ConfigError."""
    sets = dict(options.set)
    for name in OWN:
        if name in sets:
            raise ConfigError(f"--set {name}: use --{ {'method': 'methods', 'seed': 'seeds'}.get(name, name) }")
    given = read_fields(options.config) if options.config is not None else {}
    fields = gathered([(str(options.config), given), ("--set", sets)])
    own = {name: fields.pop(name, GSIConfig.model_fields[name].default) for name in OWN}
    methods, ns, seeds = (
        tuple(values if values is not None else [own[name]])
        for name, values in (("method", options.methods), ("n", options.n), ("seed", options.seeds))
    )
    problems = load(
        options.data, data_dir=options.data_dir, size=options.limit, seed=options.data_seed, split=options.split
    )
    plan = Plan(
        data=options.data,
        problems=tuple(problems),
        methods=methods,
        ns=ns,
        seeds=seeds,
        specs={role: getattr(options, role) for role in ("draft", "base", "reward")},
        fields=fields,
        record=options.record or "summary",
        limit=options.limit,
        split=options.split,
        data_seed=options.data_seed,
        share_samples=options.share_samples,
        grading_seconds=options.grading_seconds,
        vote_seconds=options.vote_seconds,
    )
    few = sum(1 for _ in plan.tasks()) <= FEW_ROWS
    return plan if options.record or not few else plan.recording("candidates")


def _run(options: argparse.Namespace, load_part: str) -> int:
    if not options.dry_run and options.ray is None:
        warm_up(options.threads, (options.draft, options.base, options.reward))  # imports while the data is read
    plan = plan_of(options)
    folder: Path = options.out
    check_folder(folder, plan.identity(), repair=options.repair and not options.dry_run)
    tasks = [
        task for task in plan.tasks() if options.shard is None or task.place % options.shard[1] == options.shard[0]
    ]
    if options.dry_run:
        rows = read_rows(folder) if results_in(folder) else []
        done = {row.key: row.standing for row in rows}
        left = remaining(tasks, plan, done, options.retry_errors)
        meter = Meter(len(left))
        _say_what_there_is(meter, plan, tasks, left)
        _estimate(meter, rows, left, plan, options)
        return 0
    make(folder)
    with Appender(results_file(folder, options.shard), repair=options.repair) as appender:
        told = mended(appender, folder, repair=options.repair)
        rows = read_rows(folder)
        done = {row.key: row.standing for row in rows}
        left = remaining(tasks, plan, done, options.retry_errors)
        meter = Meter(len(left))
        for line in told:
            meter.say(line)
        _say_what_there_is(meter, plan, tasks, left)
        left = grade_again(rows, left, plan, appender, done, meter)
        meter.total = len(left)
        if left:
            with meter:
                drive(
                    lambda: _pool(options, plan, len(left), load_part),
                    left,
                    plan,
                    folder,
                    appender,
                    meter,
                    done,
                    time.monotonic() + 60 * options.minutes if options.minutes is not None else None,
                )
    return _close(meter, plan, tasks, done, options)


def _say_what_there_is(meter: Meter, plan: Plan, tasks: Sequence[Task], left: Sequence[Task]) -> None:
    meter.say(
        f"{len(tasks)} rows: {len(plan.problems)} problems of {plan.data}, {len(plan.methods)} methods, n = "
        f"{', '.join(map(str, plan.ns))}, {len(plan.seeds)} seeds, record={plan.record}; {len(left)} to do"
    )


def _pool(options: argparse.Namespace, plan: Plan, rows: int, load_part: str) -> Pool:
    count = min(options.workers, -(-rows // options.concurrency))
    about: dict[str, Any] = {
        "count": count,
        "concurrency": options.concurrency,
        "threads": options.threads,
        "row_seconds": options.row_seconds,
        "load": load_part,
    }
    if options.ray is not None:
        from evals.run.ray_shards import RayPool

        return RayPool(plan, address=options.ray, **about)
    return ProcessPool(plan, **about)


def _close(
    meter: Meter,
    plan: Plan,
    tasks: Sequence[Task],
    done: dict[RowKey, Standing],
    options: argparse.Namespace,
) -> int:
    """Say how it ended; the exit code."""
    keys = [plan.key(task) for task in tasks]
    counted = Counter(done.get(key, "missing") for key in keys)
    missing, failed, ungraded = counted["missing"], counted["error"], counted["ungraded"]
    if meter.made:
        meter.say(f"{meter.made} rows in {span(meter.seconds)} ({meter.rate:.2f} rows/s)")
    if failed:
        meter.say(f"{failed} of {len(tasks)} rows failed; their errors stand in the rows; --retry-errors tries again")
    if ungraded:
        meter.say(f"{ungraded} of {len(tasks)} rows are ungraded; the same command tries them again")
    if missing:
        meter.say(f"{missing} of {len(tasks)} rows are left; to go on:\n  {shlex.join(sys.orig_argv)}")
        return 4
    meter.say(f"all rows are there: python -m evals report {shlex.quote(str(options.out))}")
    return 3 if failed or ungraded else 0


def _estimate(meter: Meter, rows: Sequence[Row], left: Sequence[Task], plan: Plan, options: argparse.Namespace) -> None:
    """What --dry-run says: rows left by method and n, and the time they take, from the rows there are."""
    seconds: dict[tuple[str, int], list[float]] = {}
    for row in rows:
        if row.error is None:
            seconds.setdefault((row.method, row.n), []).append(row.seconds)
    total, unknown = 0.0, 0
    for method in plan.methods:
        for n in plan.ns_of(method):
            count = sum(task.method == method and task.n == n for task in left)
            known = seconds.get((method, n))
            mean = None if not known else sum(known) / len(known)
            total += count * (mean or 0.0)
            unknown += count if mean is None else 0
            meter.say(f"  {method}, n = {n}: {count} to do" + ("" if mean is None else f", {mean:.2f} s each"))
    if not left:
        meter.say("nothing is left to do")
    elif unknown == len(left):
        meter.say("no row yet to tell the time from: make some with --minutes 1")
    else:
        lanes = options.workers * options.concurrency
        meter.say(
            f"about {span(total / lanes)} with {lanes} at a time" + (f", {unknown} rows not counted" * (unknown > 0))
        )
