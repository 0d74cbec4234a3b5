"""README's lines do what they say: the graph, the specs, the links."""

from __future__ import annotations

import re
import shlex

import pytest
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from gsi_node.cli.arguments import add_arguments
from gsi_node.host.shell import Parser
from gsi_node.specs.kinds import MODELS, REWARDS
from gsi_node.specs.load import check_spec
from tests.docs.generated import ROOT

README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


class Asked(TypedDict, total=False):
    """What a parent of the node has."""

    problem: str
    answer: str


def test_five_lines_put_it_into_a_graph(capsys: pytest.CaptureFixture[str]) -> None:
    (python,) = (text for language, text in BLOCKS if language == "python")
    assert len([line for line in python.splitlines() if line.strip()]) <= 5
    graph = StateGraph(Asked)
    exec(python, {"my_graph": graph})
    assert capsys.readouterr().out == "144\n"
    graph.add_edge(START, "solve")
    assert graph.compile().invoke({"problem": "What is 12 * (7 + 5)?"})["answer"] == "144"


def test_every_command_line_of_gsi_solve_is_one() -> None:
    lines = [line for _, text in BLOCKS for line in text.replace("\\\n", "").splitlines() if "gsi solve" in line]
    assert len(lines) == 3
    for line in lines:
        parser = Parser()
        add_arguments(parser)
        options = parser.parse_args(shlex.split(line)[2:])
        for role, kinds in (("draft", MODELS), ("base", MODELS), ("reward", REWARDS)):
            check_spec(getattr(options, role), kinds, role)
