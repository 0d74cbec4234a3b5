"""Threads of the node that earlier versions (commits 0cccc16 and d9f3aab) left, under another law of where steps end.

The fixtures hold one thread a place: before the fallback of a refused batch ("refused") and of a lost draft ("lost"),
and of expgsi before the third chunk ("chunk"), before the verdict on the second ("verdict"), and after a task for the
third that died while the other one's reward was kept ("half"); and one that is over ("finished").
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver

from gsi_node import StrictSerializer
from gsi_node.errors import BackendUnavailable, ResumeMismatch
from gsi_node.graph.verdicts import pack_verdict, read_verdict
from gsi_node.step.judging import Commit, Continue, NoDraft, Refuse
from gsi_node.tables.models import TableModel
from gsi_node.tables.rewards import TableReward
from tests.graph.world import compiled, plain, thread

FIXTURES = Path(__file__).parents[1] / "crash" / "fixtures"
DRAFT = {"good\n\n": 0.3, "bad\n\n": 0.4, r"so \boxed{8}": 0.3}
BASE = {"good\n\n": 0.5, "bad\n\n": 0.2, r"so \boxed{7}": 0.3}
REWARD = {"good\n\n": 0.9, "bad\n\n": 0.2, r"so \boxed{7}": 0.8, r"so \boxed{8}": 0.4}
SCAN: dict[str, Any] = {"method": "expgsi", "chunk_size": 1, "log_ratio_clip": 1.5}


class Gone(TableModel):
    """A draft that cannot be reached."""

    def sample(self, *args: Any) -> Any:
        raise BackendUnavailable("the draft is gone")


LOST: dict[str, Any] = {"allow_degraded": True, "draft": Gone(DRAFT)}
OLDEST, LAST = "node-threads", "node-threads-d9f3aab"


def graph(saver: Any = None, draft: TableModel | None = None, **fields: Any) -> Any:
    parts = {"draft": draft or TableModel(DRAFT), "base": TableModel(BASE), "reward": TableReward(REWARD)}
    return compiled(parts=parts, checkpointer=saver, **{"n": 6, "max_steps": 8, **fields})


@contextmanager
def opened(fixture: str, folder: Path) -> Iterator[Any]:
    with tarfile.open(FIXTURES / f"{fixture}.tar.xz") as tar:
        tar.extractall(folder, filter="data")
    with SqliteSaver.from_conn_string(str(folder / "node.sqlite")) as saver:
        saver.serde = StrictSerializer()
        yield saver


@pytest.mark.parametrize(
    ("fixture", "name", "waits", "fields"),
    [
        (OLDEST, "refused", ("fallback",), {}),
        (OLDEST, "lost", ("fallback",), LOST),
        (OLDEST, "chunk", ("reward", "score_base"), SCAN),
        (OLDEST, "verdict", ("tilt_and_accept",), SCAN),
        (OLDEST, "half", ("score_base",), SCAN),
        (LAST, "refused", ("fallback",), {}),
        (LAST, "lost", ("fallback",), LOST),
        (LAST, "verdict", ("tilt_and_accept",), SCAN),
    ],
)
def test_an_unfinished_earlier_thread_is_refused_by_version_and_left_as_it_is(
    fixture: str, name: str, waits: tuple[str, ...], fields: dict[str, Any], tmp_path: Path
) -> None:
    with opened(fixture, tmp_path) as saver:
        now = graph(saver, **fields)
        before = now.get_state(thread(name))
        assert before.next == waits and "sampling_law" not in before.values["gsi_run"]
        with pytest.raises(
            ResumeMismatch, match=r"version 1 of the sampling law, .* version 2: begin on a new thread_id"
        ):
            now.invoke(None, thread(name))
        after = now.get_state(thread(name))
        assert (after.values, after.next, after.config) == (before.values, waits, before.config)
        whole = plain(graph(**fields).invoke({"problem": "p"}))
        assert plain(now.invoke({"problem": "p"}, thread("another"))) == whole
        assert plain(now.invoke({"problem": "p"}, thread(name))) == whole  # as every new problem, it starts clean


@pytest.mark.parametrize("fixture", [OLDEST, LAST])
def test_what_an_earlier_thread_finished_can_be_read(fixture: str, tmp_path: Path) -> None:
    whole = plain(graph().invoke({"problem": "p"}))
    for bill in whole["usage"].values():
        del bill["generated_positions"], bill["discarded_tokens"]  # which were not counted then
    with opened(fixture, tmp_path) as saver:
        state = graph(saver).get_state(thread("finished"))
    assert state.tasks == ()
    found = plain(state.values)
    assert {key: found[key] for key in whole} == whole


def test_other_settings_are_refused_as_ever() -> None:
    saver = InMemorySaver()
    graph(saver, **SCAN).invoke({"problem": "p"}, thread(), interrupt_before=["tilt_and_accept"])
    with pytest.raises(ResumeMismatch, match=r"config\.chunk_size: 1 in the checkpoint, 2 here"):
        graph(saver, **{**SCAN, "chunk_size": 2}).invoke(None, thread())


@pytest.mark.parametrize("verdict", [Commit(2), Commit(0, True), Refuse("rule", 1), Refuse("weights"), Continue(4)])
def test_a_verdict_survives_the_state(verdict: Commit | Refuse | Continue) -> None:
    assert read_verdict({"gsi_verdict": pack_verdict(verdict), "gsi_refused": {"degraded": "x"}}) == verdict


def test_no_verdict_and_that_of_a_lost_draft_are_read_as_they_were_kept() -> None:
    assert read_verdict({"gsi_verdict": None, "gsi_refused": {"text": "a"}}) is None
    assert read_verdict({"gsi_verdict": pack_verdict(NoDraft("gone"))}) == NoDraft("gone")
