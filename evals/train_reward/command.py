"""Make a process reward model of a language model, and of problems whose answers can be checked.

  python -m evals train-reward --model hf:models/base --solvers hf:models/draft,hf:models/base \
      --data rg:gsm_symbolic --limit 200 --samples 8 --out rewards/mine
  gsi solve --reward prm:rewards/mine …

Every solver answers every problem; a head on the states of the model's first layers learns to tell at a step's end
whether the answer will be right. Problems of one kind stay in one of three splits: to fit, to calibrate, to measure.
The card, rewards/mine/README.md, says what came out. Killed or stopped, the same command goes on. Exit codes: 0 the
reward and its card are there; 1 models or the disk could not go on; 2 the call must be changed; 130, 143 interrupted.
"""

from __future__ import annotations

import argparse
import sys

from evals.options import integer, integers, positive
from evals.run.guard import guarded
from evals.run.how import DEFAULT_LOAD
from evals.run.workers import warm_up
from gsi_node.host.options import named_path, set_field


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `train-reward`."""
    what = parser.add_argument_group("what")
    what.add_argument("--model", required=True, metavar="SPEC", help="whose first layers are kept: hf:FOLDER?dtype=…")
    what.add_argument("--solvers", required=True, metavar="SPEC,SPEC", help="that it will judge: the draft, the base")
    what.add_argument("--data", action="append", required=True, help="as in `evals run`; given again: further problems")
    what.add_argument("--limit", type=positive, metavar="N", help="problems of each set (default: all; generated 500)")
    what.add_argument("--split", help="part of the sets (default: all of each; of pocket train)")
    what.add_argument("--data-seed", type=integer, default=0, help="seed of generated sets and of --limit's draw")
    what.add_argument("--data-dir", type=named_path, help="of the named sets (default $GSI_DATA_DIR, then the hub)")
    what.add_argument("--samples", type=positive, default=8, metavar="K", help="of each by each solver (default 8)")
    what.add_argument("--layers", type=integers, help="that may be kept, with commas between (default: six depths)")
    labels = what.add_mutually_exclusive_group()
    labels.add_argument("--rollouts", type=integer, default=0, metavar="R", help="labels by R continuations of a step")
    labels.add_argument("--pairs", action="store_true", help="fit to pairs of steps of one problem and solver")
    what.add_argument("--no-ratios", action="store_true", help="draft and base are not compared: other vocabularies")
    what.add_argument("--seed", type=integer, default=0, help="of splits and folds (default 0)")
    what.add_argument(
        "--set",
        type=set_field,
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="GSIConfig fields of the solvers",
    )
    what.add_argument(
        "--against", action="append", default=[], metavar="SET", help="an evaluation set to be told apart from the data"
    )
    how = parser.add_argument_group("how")
    how.add_argument("--out", type=named_path, required=True, metavar="FOLDER", help="the reward's folder")
    how.add_argument("--workers", type=positive, default=1, metavar="K", help="processes with solvers of their own")
    how.add_argument("--concurrency", type=positive, default=16, metavar="C", help="problems in flight (default 16)")
    how.add_argument("--threads", type=positive, default=1, metavar="T", help="torch threads a process (default 1)")


def main(options: argparse.Namespace, load_part: str = DEFAULT_LOAD) -> int:
    """The exit code. load_part: "module:function" from (role, spec) to a model, for tests."""
    return guarded(lambda: _train(options, load_part))


def _train(options: argparse.Namespace, load_part: str) -> int:
    warm_up(options.threads, (options.model, options.solvers))  # imports while the problems are read
    from evals.train_reward.preparing import prepared

    sys.stdout.write(prepared(options, load_part).run())
    return 0
