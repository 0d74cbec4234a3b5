"""Solve a data set with several methods, numbers of candidates and seeds; one row a (problem, method, n, seed).

  python -m evals run --data pocket --methods gsi,rsd-n,sbon-base --n 1,4 --limit 100 --out runs/first
  python -m evals report runs/first

Rows are appended to OUT/results.jsonl as each finishes. Killed or stopped, the same command goes on; more methods, n,
seeds or problems are added to the rows of a folder; what would have changed those is refused. Exit codes: 0 every row
is there; 1 workers or the disk could not go on; 2 the call must be changed; 3 every row is there, but some failed
(--retry-errors) or are ungraded (the same command tries them again); 4 --minutes are over; 130, 143 interrupted.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from evals.data.dropped import without
from evals.graders.gradable import load_gradable
from evals.options import above_zero, integer, integers, names, number, positive, shard
from evals.rows.lines import read_rows, results_in
from evals.rows.row import Row
from evals.run.config import CONFIG, GRADING_SECONDS, OWN, VOTE_SECONDS, FieldValue, read_config
from evals.run.design import tasks_in
from evals.run.execute import execute, outline
from evals.run.folder import check_folder
from evals.run.guard import guarded
from evals.run.how import DEFAULT_LOAD, How
from evals.run.plan import Plan, Task, other_fields, remaining
from evals.run.progress import RunMeter, span
from evals.run.workers import warm_up
from gsi_node.cli.shared import add_models
from gsi_node.errors import ConfigError
from gsi_node.host.options import named_path, path_text, set_field
from gsi_node.step.config import GSIConfig
from gsi_node.step.layers import gathered, read_fields

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
    what.add_argument("--data-dir", type=named_path, help="of the named sets (default $GSI_DATA_DIR, then the hub)")
    what.add_argument(
        "--without", type=named_path, metavar="FILE", help="leave out what a reward was trained on: its overlap.json"
    )
    what.add_argument("--methods", type=names, help="with commas between (default gsi); majority-draft, -base too")
    what.add_argument("--n", type=integers, help="candidates a step, with commas between (default 16)")
    what.add_argument("--seeds", type=integers, help="with commas between (default 0)")
    add_models(what)
    what.add_argument(
        "--config", type=path_text, metavar="FILE", help="fields of GSIConfig (JSON, TOML); options above win"
    )
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
    how.add_argument("--out", type=named_path, required=True, metavar="FOLDER", help="the run's folder: runs/first")
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
    how.add_argument(
        "--memo",
        action="store_true",
        help="methods of a problem take over each other's draws, scores and rewards while their prefixes agree (with "
        "--share-samples, in each process); such rows have no timings",
    )
    how.add_argument("--dry-run", action="store_true", help="show what there is to do, and stop")


def main(options: argparse.Namespace, load_part: str = DEFAULT_LOAD) -> int:
    """The exit code. load_part: "module:function" from (role, spec) to a model, for tests."""
    return guarded(lambda: _run(options, load_part))


def plan_of(options: argparse.Namespace) -> Plan:
    """The plan of a command line, its data loaded. Raises ConfigError."""
    given = read_fields(options.config) if options.config is not None else {}
    fields: dict[str, FieldValue] = gathered([(str(options.config), given), ("--set", other_fields(options.set))])
    own = {name: fields.pop(name, GSIConfig.model_fields[name].default) for name in OWN}
    methods, ns, seeds = (
        tuple(values if values is not None else [own[name]])
        for name, values in (("method", options.methods), ("n", options.n), ("seed", options.seeds))
    )
    problems = load_gradable(
        options.data, data_dir=options.data_dir, size=options.limit, seed=options.data_seed, split=options.split
    )
    if options.without is not None:
        problems = without(problems, options.data, options.without)
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
        data_dir=options.data_dir,
    )
    return plan if options.record else plan.recording(_default_record(plan, options.out))


def _default_record(plan: Plan, folder: Path) -> str:
    """What the folder's rows have; candidates in a new one, where the rows are few."""
    if (folder / CONFIG).exists():
        with suppress(ConfigError):  # what is wrong with it is told where the folder is checked
            return read_config(folder).record
    return "candidates" if sum(1 for _ in plan.tasks()) <= FEW_ROWS else "summary"


def _run(options: argparse.Namespace, load_part: str) -> int:
    if options.memo and not options.share_samples:
        raise ConfigError("--memo: methods ask the same only where they have one set of streams; add --share-samples")
    if not options.dry_run and options.ray is None:
        warm_up(options.threads, (options.draft, options.base, options.reward))  # imports while the data is read
    plan, folder = plan_of(options), options.out
    how = How(load=load_part, **{name: getattr(options, name) for name in How.__slots__ if name != "load"})
    if options.dry_run:
        _dry_run(plan, folder, how)
        return 0
    rows = execute(plan, folder, how)
    return _told(plan, tasks_in(folder, plan, how), rows, folder)


def _told(plan: Plan, tasks: Sequence[Task], rows: Sequence[Row], folder: Path) -> int:
    """Say how it ended; the exit code."""
    say = RunMeter(0).say
    counted = Counter(row.standing for row in rows)
    missing, failed, ungraded = len(tasks) - len(rows), counted["error"], counted["ungraded"]
    if failed:
        say(f"{failed} of {len(tasks)} rows failed; their errors stand in the rows; --retry-errors tries again")
    if ungraded:
        say(f"{ungraded} of {len(tasks)} rows are ungraded; the same command tries them again")
    if missing:
        say(f"{missing} of {len(tasks)} rows are left; to go on:\n  {shlex.join(sys.orig_argv)}")
        return 4
    say(f"all rows are there: python -m evals report {shlex.quote(str(folder))}")
    return 3 if failed or ungraded else 0


def _dry_run(plan: Plan, folder: Path, how: How) -> None:
    """Say what there is to do: rows left by method and n, and the time they take, from the rows there are."""
    check_folder(folder, plan)
    rows, tasks, say = read_rows(folder) if results_in(folder) else [], tasks_in(folder, plan, how), RunMeter(0).say
    left = remaining(tasks, plan, {row.key: row.standing for row in rows}, how.retry_errors)
    say(outline(plan, tasks, left))
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
            say(f"  {method}, n = {n}: {count} to do" + ("" if mean is None else f", {mean:.2f} s each"))
    if not left:
        say("nothing is left to do")
    elif unknown == len(left):
        say("no row yet to tell the time from: make some with --minutes 1")
    else:
        lanes = how.workers * how.concurrency
        say(f"about {span(total / lanes)} with {lanes} at a time" + (f", {unknown} rows not counted" * (unknown > 0)))
