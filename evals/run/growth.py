"""One configuration for the rows of two: where nothing that determines a row differs, there may be more n, seeds,
methods or problems. config.json has no texts, so the problems it was written for are found again by their digest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from evals.data.problems import Problem
from evals.graders.gradable import load_gradable
from evals.rows.lines import read_rows, results_in
from evals.run.config import PROBLEMS, RunConfig
from evals.run.plan import digest
from gsi_node.errors import ConfigError, ResumeMismatch
from gsi_node.identity import differing

Problems = Sequence[Problem]
ProblemFinder = Callable[[], Problems | None]


def joined(there: RunConfig, here: RunConfig, find_there: ProblemFinder, find_here: ProblemFinder) -> RunConfig:
    """The configuration of a folder that holds the rows of both.

    find_…: the problems of each, asked only where their digests differ; None where nobody knows them any more. Raises
    ResumeMismatch that lists the settings in which the two differ.
    """
    told = there.differing(here)
    wider = _wider(there, here, find_there, find_here)
    if wider is None:
        told += differing(there.model_dump(include=PROBLEMS), here.model_dump(include=PROBLEMS))
    if wider is None or told:
        raise ResumeMismatch("; ".join(map(str, told)))
    return there.joined(here, wider)


def found_again(folder: Path, config: RunConfig, data_dir: Path | None, now: Problems = ()) -> Problems | None:
    """The problems that a folder's configuration was written for, None where they are no longer what they were.

    now: where they are looked for first, since a set may have got more of them.
    """
    return next(
        (some for some in _candidates(folder, config, data_dir, now) if digest(some) == config.problems_digest), None
    )


def _wider(there: RunConfig, here: RunConfig, find_there: ProblemFinder, find_here: ProblemFinder) -> RunConfig | None:
    """The one whose problems hold the other's, each the same in all that decides a row."""
    if there.problems_digest == here.problems_digest:
        return there
    ours, theirs = find_there(), find_here()
    if ours is None or theirs is None:
        return None
    one, other = ({problem.id: problem for problem in problems} for problems in (ours, theirs))
    if all(other.get(id) == problem for id, problem in one.items()):
        return here
    return there if all(one.get(id) == problem for id, problem in other.items()) else None


def _candidates(folder: Path, config: RunConfig, data_dir: Path | None, now: Problems) -> Iterator[Problems]:
    yield now[: config.problems]
    try:
        read = load_gradable(
            config.data, data_dir=data_dir, size=config.limit, seed=config.data_seed, split=config.split
        )
    except ConfigError:
        read = []  # no longer where it was
    yield read
    yield read[: config.problems]
    places = {row.problem_id: row.index for row in (read_rows(folder) if results_in(folder) else ())}
    held = [problem for problem in read if problem.id in places]
    yield sorted(held, key=lambda problem: places[problem.id])
