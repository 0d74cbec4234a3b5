"""The examples that need these clients."""

from __future__ import annotations

from pathlib import Path

from tests.examples.alone import ROOT, alone
from tests.plugs.clients import client

client("langchain.agents")
MOVED = "create_react_agent has been moved"  # what langgraph-supervisor 0.0.31 calls


def test_an_agent_calls_the_tool_twice_in_a_message(tmp_path: Path) -> None:
    told = alone(ROOT / "examples" / "tool_in_an_agent.py", tmp_path)
    assert "tool  Answer: 144\n" in told and "tool  Answer: 6\n" in told and told.count("accepted ") == 2


def test_a_supervisor_hands_over_to_the_node(tmp_path: Path) -> None:
    told = alone(ROOT / "examples" / "supervisor.py", tmp_path, borne=MOVED)
    assert "mathematician  Brackets first" in told and r"\boxed{144}" in told
    assert told.endswith("supervisor     The mathematician says 144.\n")
