"""A rule of step ends through a checkpoint file: a list of strings goes on, another rule is refused by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.sqlite import SqliteSaver

from gsi_node.errors import ResumeMismatch
from gsi_node.graph.build import compile_gsi
from gsi_node.step.config import GSIConfig
from gsi_node.tables.rewards import TableReward
from tests.graph.world import plain, thread
from tests.token_world import tables


def graph(step_end: str | list[str], saver: Any = None) -> Any:
    draft, base = tables(5)
    reward = TableReward(lambda prefix, step: 0.5)
    config = GSIConfig(n=2, seed=1, max_steps=6, step_end=step_end)
    return compile_gsi(draft=draft, base=base, reward=reward, config=config, checkpointer=saver)


def test_a_list_of_ends_survives_a_checkpoint_and_no_other_rule_goes_on_with_it(tmp_path: Path) -> None:
    wanted = graph(["b", "."]).invoke({"problem": "p"})
    assert len(wanted["steps"]) > 1
    with SqliteSaver.from_conn_string(str(tmp_path / "c.sqlite")) as saver:
        graph(["b", "."], saver).invoke({"problem": "p"}, thread(), interrupt_after=["tilt_and_accept"])
    with SqliteSaver.from_conn_string(str(tmp_path / "c.sqlite")) as saver:
        with pytest.raises(ResumeMismatch, match="step_end"):
            graph("line", saver).invoke(None, thread())
        found = graph(["b", "."], saver).invoke(None, thread())
    assert plain(found)["steps"] == plain(wanted)["steps"]
