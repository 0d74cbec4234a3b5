r"""Gold answers rewritten with known truth, and graded: python -m evals.audit [--draw 300] [--seed 0] [--out FILE]

Each gold answer drawn gets one form that is equal and one that is near but different, by kinds of change that are
right by construction (evals.audit.kinds). No gold answer is dropped, and no kind makes more than a fifth of the pairs.
Printed are the mistakes, by kind; `--every` makes every form of every answer drawn instead of one each way.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":  # before what needs a POSIX system is imported
    from gsi_node.host.shell import prepare

    prepare()

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from evals.audit import different_forms, different_numbers, equal_forms, equal_numbers  # noqa: F401 - enter their kinds
from evals.audit.kinds import KINDS, Kind
from evals.data.layouts import LAYOUTS
from evals.data.problems import Problem
from evals.graders.gradable import load_gradable
from evals.graders.grading import Grader
from gsi_node.errors import ConfigError
from gsi_node.host.files import write
from gsi_node.host.options import named_path
from gsi_node.host.screen import Screen
from gsi_node.host.shell import DONE, Parser, ending

SHARE = 5
"""No kind makes more than one in SHARE of the pairs of its direction."""


class Pair(NamedTuple):
    """One gold answer rewritten: by which kind, to what, and whether it is still the answer."""

    problem: Problem
    kind: str
    text: str
    equal: bool


def draw(size: int, seed: int, data_dir: Path | None = None) -> list[Problem]:
    """`size` problems, equally many of each named set, by seed."""
    names = sorted(LAYOUTS)
    sizes = [size // len(names) + (index < size % len(names)) for index in range(len(names))]
    return [
        one
        for name, part in zip(names, sizes, strict=True)
        for one in load_gradable(name, data_dir=data_dir, size=part, seed=seed)
    ]


def forms(problem: Problem, equal: bool, seed: int) -> list[tuple[Kind, str]]:
    """Every form of one gold answer in one direction."""
    made = [
        (kind, kind.rewrite(problem, Random(f"{seed} {problem.id} {kind.name}")))
        for kind in KINDS
        if kind.equal == equal
    ]
    return [(kind, text) for kind, text in made if text is not None]


def pairs(problems: Sequence[Problem], seed: int) -> Iterator[Pair]:
    """One form of each answer each way, the kind used least so far among those that fit.

    Raises ConfigError for an answer that no kind fits, and where a kind would make more than its share.
    """
    for equal in (True, False):
        used: Counter[str] = Counter()
        options = [(problem, forms(problem, equal, seed)) for problem in problems]
        for problem, made in sorted(options, key=lambda option: len(option[1])):
            if not made:
                raise ConfigError(
                    f"no kind rewrites the answer {problem.answer!r} ({'equal' if equal else 'different'})"
                )
            kind, text = min(made, key=lambda form: used[form[0].name])
            used[kind.name] += 1
            yield Pair(problem, kind.name, text, equal)
        name, most = used.most_common(1)[0]
        if most * SHARE > len(problems) and len(problems) >= SHARE * 2:
            raise ConfigError(f"the kind {name!r} makes {most} of {len(problems)} pairs")


def every(problems: Sequence[Problem], seed: int) -> Iterator[Pair]:
    """Every form of every answer, both ways."""
    for problem in problems:
        for equal in (True, False):
            for kind, text in forms(problem, equal, seed):
                yield Pair(problem, kind.name, text, equal)


def graded(grader: Grader, pair: Pair) -> bool | None:
    """What the grader says of a pair; None where nobody knows."""
    return grader.grade(pair.problem, rf"So it is \boxed{{{pair.text}}}.").correct


def main(argv: Sequence[str] | None = None) -> int:
    """Grade the pairs and print the mistakes. Raises ConfigError for a set that cannot be read."""
    parser = Parser(prog="python -m evals.audit", description=__doc__)
    parser.add_argument("--draw", type=int, default=300, help="how many gold answers (default 300)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw and of the changes (default 0)")
    parser.add_argument("--every", action="store_true", help="every form that fits, not one each way")
    parser.add_argument("--data-dir", type=named_path, help="the folder of the sets (default: $GSI_DATA_DIR)")
    parser.add_argument("--out", type=named_path, help="write pairs and verdicts there, one JSON line each")
    options = parser.parse_args(argv)
    console = Screen(soft_wrap=True, markup=False, highlight=False)
    problems = draw(options.draw, options.seed, options.data_dir)
    lines, wrong, unknown = [], Counter[str](), 0
    with Grader(workers=2) as grader:
        for pair in (every if options.every else pairs)(problems, options.seed):
            said = graded(grader, pair)
            row = {
                "gold": pair.problem.answer,
                "text": pair.text,
                "equal": pair.equal,
                "kind": pair.kind,
                "graded": said,
            }
            lines.append(json.dumps(row | {"id": pair.problem.id}, ensure_ascii=False))
            if said == pair.equal:
                continue
            how = "ungraded" if said is None else "accepted" if said else "refused "
            if said is None:
                unknown += 1
            else:
                wrong[pair.kind] += 1
            console.print(f"{how} {pair.problem.answer} ← {pair.text}  ({pair.kind})")
    if options.out:
        write(options.out, "\n".join(lines) + "\n")
    found = f"{wrong.total()} mistakes {dict(wrong)}, {unknown} ungraded"
    console.print(f"{len(lines)} pairs of {len(problems)} gold answers, {found}")
    return DONE


if __name__ == "__main__":
    with ending():
        sys.exit(main())
