"""A larger graph around the GSI node: prepare → k solves in parallel → a vote weighted by reward → the answer.

    python graphs/math_solver.py "What is 12 * (7 + 5)?"        (--help for the rest; `gsi solve` is the same)

`graph` is for LangGraph's own tools (langgraph.json). Nothing is loaded before the first problem arrives.
"""

import sys

if __name__ == "__main__":  # before langgraph gets imported: --help and mistakes are answered at once
    from gsi_node.cli.__main__ import GSI
    from gsi_node.host.shell import ending

    with ending():
        sys.exit(GSI.call("solve", sys.argv[1:], program="math_solver.py"))

from gsi_node import GSIConfig, MathSolver, build_math_solver
from gsi_node.cli.problems import SAMPLE_PROBLEMS

__all__ = ["SAMPLE_PROBLEMS", "MathSolver", "build_graph", "graph"]

build_graph = build_math_solver
# In a chat each question stands alone: the pocket models know one at a time.
graph = build_graph(config=GSIConfig(n=8, earlier_messages="ignore")).compile(name="math_solver")
