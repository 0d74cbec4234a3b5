"""Does every gold answer of a set grade as equal to itself? python -m evals.graders.golds [NAME …] [--data-dir FOLDER]

Printed are the answers that do not, and those that do only as a text: nothing can read them, so another way to write
them is graded as wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from evals.data.layouts import LAYOUTS
from evals.data.problems import Problem, Ungraded
from evals.graders.gradable import load_gradable
from evals.graders.grading import Grader
from gsi_node.host.options import named_path
from gsi_node.host.screen import Screen
from gsi_node.host.shell import Parser, ending


class Fault(NamedTuple):
    """A gold answer that is not equal to itself; `worded`: it is, as a text."""

    problem: Problem
    worded: bool
    reason: str


def faults(grader: Grader, problems: Iterable[Problem], threads: int = 2) -> list[Fault]:
    """The gold answers that are not equal to themselves by what they mean, in the order of the problems."""
    with ThreadPoolExecutor(threads) as pool:
        return [fault for found in pool.map(lambda problem: _fault(grader, problem), problems) for fault in found]


def _fault(grader: Grader, problem: Problem) -> list[Fault]:
    grade = grader.grade(problem, f"First \\boxed{{0}}, but it is \\boxed{{{problem.answer}}}.")
    try:
        reason = grader.gold_fault(problem)
    except Ungraded as error:
        reason = str(error)
    if grade.correct and reason is None:
        return []
    return [Fault(problem, bool(grade.correct), reason or grade.reason or "another answer")]


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("names", nargs="*", default=[*LAYOUTS, "pocket"], help="sets (default: all that have a name)")
    parser.add_argument("--data-dir", type=named_path, help="the folder of the sets (default: $GSI_DATA_DIR)")
    options = parser.parse_args()
    console = Screen(soft_wrap=True, markup=False, highlight=False)
    with Grader(workers=2) as grader:
        for name in options.names:
            problems = load_gradable(name, data_dir=options.data_dir)
            found = faults(grader, problems)
            console.print(f"{name}: {len(problems)} gold answers, {len(found)} not equal to themselves")
            for problem, worded, reason in found:
                how = "only as a text" if worded else "NOT AT ALL"
                console.print(f"  {problem.id}: {problem.answer}  equal {how}: {reason}")


if __name__ == "__main__":
    with ending():
        main()
