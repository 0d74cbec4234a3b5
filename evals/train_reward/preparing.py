"""A training from a command line: all that can be refused is refused here, before any model is loaded."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace

from evals.data.problems import Problem
from evals.graders.gradable import load_gradable
from evals.graders.grading import check_installed
from evals.run.config import OWN, FieldValue
from evals.run.how import How
from evals.run.plan import digest
from evals.run.provenance import here_and_now
from evals.train_reward.backbone import empty_classifier, model_source, read_config
from evals.train_reward.leakage import leakage
from evals.train_reward.pipeline import Training
from evals.train_reward.recipe import Recipe, kept
from evals.train_reward.templates import SplitProblems
from gsi_node.errors import ConfigError
from gsi_node.specs.kinds import MODELS
from gsi_node.specs.load import check_spec
from gsi_node.step.layers import gathered, validated

DEPTHS = (0.4, 0.5, 0.6, 0.7, 0.8, 1.0)
"""Of a model's layers, the shares that are tried where --layers names none."""
_NEXT_SOLVER = re.compile(rf",(?=(?:{'|'.join(MODELS)}):)")


def prepared(options: argparse.Namespace, load_part: str) -> Training:
    """The training that the options ask for, its folder begun, its overlap with evaluation sets told on standard error.

    load_part: "module:function" from (role, spec) to a solver. Raises GSIError.
    """
    solvers = _solvers(options.solvers)
    fields = _fields(options.set)
    layers, of_layers = _layers(options.model, options.layers)
    problems = _problems(options)
    given = SplitProblems.of(problems, options.seed)
    recipe = Recipe(
        model=options.model,
        solvers=solvers,
        data=options.data,
        limit=options.limit,
        data_seed=options.data_seed,
        problems_digest=digest(problems),
        samples=options.samples,
        ratios=len(solvers) > 1 and not options.no_ratios,
        rollouts=options.rollouts,
        pairs=options.pairs,
        layers=layers,
        seed=options.seed,
        fields=fields,
        made=here_and_now(),
    )
    overlap = leakage(problems, options.against, options.data_dir)
    recipe = kept(recipe, options.out)
    sys.stderr.write(overlap.table().markdown())
    how = How(
        workers=options.workers,
        concurrency=options.concurrency,
        threads=options.threads,
        retry_errors=True,
        load=load_part,
    )
    command = shlex.join(["python", "-m", "evals", *sys.argv[1:]])
    return Training(recipe, given, overlap, options.out, how, command, of_layers)


def _solvers(text: str) -> list[str]:
    """Specs with commas between. Raises ConfigError."""
    specs = _NEXT_SOLVER.split(text)
    for spec in specs:
        check_spec(spec, MODELS, "solver")
    if len(set(specs)) < len(specs):
        raise ConfigError(f"--solvers {text}: names one twice")
    return specs


def _fields(sets: Sequence[tuple[str, FieldValue]]) -> dict[str, FieldValue]:
    """The fields of --set. Raises ConfigError for one that is not the user's to set here, or cannot be."""
    found: dict[str, FieldValue] = gathered([("--set", dict(sets))])
    if own := sorted(found.keys() & {*OWN}):
        raise ConfigError(f"--set {own[0]}: every solver writes single responses by itself, by --samples; leave it out")
    validated(found)
    return found


def _layers(spec: str, wanted: Sequence[int] | None) -> tuple[list[int], int]:
    """How many layers may be kept, and how many the model has. Raises ConfigError where it cannot be cut so."""
    config = read_config(model_source(spec))
    whole = int(getattr(config, "num_hidden_layers", 0))
    layers = sorted(set(wanted or (max(1, round(share * whole)) for share in DEPTHS)))
    for count in layers:
        empty_classifier(config, count)
    return layers, whole


def _problems(options: argparse.Namespace) -> list[Problem]:
    """Of all the sets; those of several bear their set's name."""
    found = []
    for name in options.data:
        split = options.split or ("train" if name == "pocket" else "test")
        some = load_gradable(name, data_dir=options.data_dir, size=options.limit, seed=options.data_seed, split=split)
        found += some if len(options.data) == 1 else [replace(one, id=f"{name}: {one.id}") for one in some]
    check_installed({problem.kind for problem in found})
    return found
