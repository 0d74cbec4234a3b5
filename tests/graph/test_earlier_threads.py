"""Threads of the node that version 0.1.0 (commit 0cccc16) left in the middle of a step: its states had no verdict.

The fixture holds one thread a place: before the fallback of a refused batch ("refused") and of a lost draft ("lost"),
and of expgsi before the third chunk ("chunk"), before the verdict on the second ("verdict"), and after a task for the
third that died while the other one's reward was kept ("half").
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.sqlite import SqliteSaver

from gsi_node.errors import BackendUnavailable, ResumeMismatch
from gsi_node.graph.verdicts import pack_verdict, read_verdict
from gsi_node.step.judging import Commit, Continue, NoDraft, Refuse
from gsi_node.tables.models import TableModel
from gsi_node.tables.rewards import TableReward
from tests.graph.world import compiled, plain, thread

FIXTURE = Path(__file__).parents[1] / "crash" / "fixtures" / "node-threads.tar.xz"
DRAFT = {"good\n\n": 0.3, "bad\n\n": 0.4, r"so \boxed{8}": 0.3}
BASE = {"good\n\n": 0.5, "bad\n\n": 0.2, r"so \boxed{7}": 0.3}
REWARD = {"good\n\n": 0.9, "bad\n\n": 0.2, r"so \boxed{7}": 0.8, r"so \boxed{8}": 0.4}
SCAN: dict[str, Any] = {"method": "expgsi", "chunk_size": 1, "log_ratio_clip": 1.5}


class Gone(TableModel):
    """A draft that cannot be reached."""

    def sample(self, *args: Any) -> Any:
        raise BackendUnavailable("the draft is gone")


def graph(saver: Any = None, draft: TableModel | None = None, **fields: Any) -> Any:
    parts = {"draft": draft or TableModel(DRAFT), "base": TableModel(BASE), "reward": TableReward(REWARD)}
    return compiled(parts=parts, checkpointer=saver, **{"n": 6, "max_steps": 8, **fields})


@pytest.fixture
def saver(tmp_path: Path) -> Iterator[Any]:
    with tarfile.open(FIXTURE) as tar:
        tar.extractall(tmp_path, filter="data")
    with SqliteSaver.from_conn_string(str(tmp_path / "node.sqlite")) as opened:
        yield opened


@pytest.mark.parametrize(
    ("name", "waits", "fields"),
    [
        ("refused", ("fallback",), {}),
        ("lost", ("fallback",), {"allow_degraded": True, "draft": Gone(DRAFT)}),
        ("chunk", ("reward", "score_base"), SCAN),
        ("verdict", ("tilt_and_accept",), SCAN),
        ("half", ("score_base",), SCAN),
        ("finished", (), {}),
    ],
)
def test_an_earlier_thread_goes_on_to_the_result_of_a_whole_run(
    name: str, waits: tuple[str, ...], fields: dict[str, Any], saver: Any
) -> None:
    now = graph(saver, **fields)
    assert now.get_state(thread(name)).next == waits
    assert "gsi_verdict" not in now.get_state(thread(name)).values
    found = plain(now.invoke(None, thread(name))) if waits else plain(now.get_state(thread(name)).values)
    whole = plain(graph(**fields).invoke({"problem": "p"}))
    assert {key: found[key] for key in whole if key != "messages"} == {k: whole[k] for k in whole if k != "messages"}
    assert found["messages"][-1] == whole["messages"][-1]


def test_other_settings_are_refused_as_ever(saver: Any) -> None:
    with pytest.raises(ResumeMismatch, match=r"config\.chunk_size: 1 in the checkpoint, 2 here"):
        graph(saver, **{**SCAN, "chunk_size": 2}).invoke(None, thread("chunk"))


@pytest.mark.parametrize("verdict", [Commit(2), Commit(0, True), Refuse("rule", 1), Refuse("weights"), Continue(4)])
def test_a_verdict_survives_the_state(verdict: Commit | Refuse | Continue) -> None:
    assert read_verdict({"gsi_verdict": pack_verdict(verdict), "gsi_refused": {"degraded": "x"}}) == verdict


def test_what_stood_for_a_verdict_is_read_as_one() -> None:
    assert read_verdict({"gsi_verdict": None, "gsi_refused": None}) is None
    assert read_verdict({"gsi_refused": {"text": "a"}}) == Refuse("rule")
    assert read_verdict({"gsi_refused": {"degraded": "gone"}}) == NoDraft("gone")
    assert read_verdict({"gsi_verdict": pack_verdict(NoDraft("gone"))}) == NoDraft("gone")
