"""SIGKILL at random moments of a SQLite-checkpointed run: the resumed run ends with the same token ids."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.sqlite import SqliteSaver

from gsi_node.tables.rewards import TableReward
from gsi_node.types import Prefix, Step
from tests.graph.world import compiled, environment, models, thread

CHILD = """
from tests.graph import test_kill
test_kill.child()
"""
PROBLEM = {"problem": "2 + 2"}


def table_graph(saver: Any, folder: Path, delay: float) -> Any:
    """Twelve steps of table models that sleep `delay` seconds a call."""
    parts = models(length=12)
    parts["draft"].delay = parts["base"].delay = delay
    return compiled(checkpointer=saver, parts=parts)


def scanning_graph(saver: Any, folder: Path, delay: float) -> Any:
    """The same with expgsi, one candidate a chunk: most kills find a scan half done."""
    parts = models(length=12)
    parts["draft"].delay = parts["base"].delay = delay
    return compiled(checkpointer=saver, parts=parts, method="expgsi", n=6, chunk_size=1, log_ratio_clip=0.5)


def miniature_graph(saver: Any, folder: Path, delay: float) -> Any:
    """Miniature transformers in float64, whose caches are cold after a resume."""
    from gsi_node.specs.load import load_model

    parts = {role: load_model(f"hf:{folder / role}?dtype=float64") for role in ("draft", "base")}
    reward = TableReward(lambda prefix, step: 0.9 if len(step.text) % 3 else 0.2, name="length")
    fields: dict[str, Any] = {"max_step_tokens": 12, "max_tokens": 150, "temperature": 1.0}
    return compiled(checkpointer=saver, parts={**parts, "reward": reward}, **fields)


def thinking_graph(saver: Any, folder: Path, delay: float) -> Any:
    """A pair that thinks, loaded anew by every life, whose thinking is closed by force."""
    from gsi_node.specs.load import load_model

    parts: dict[str, Any] = {role: load_model(f"hf:{folder / role}?dtype=float64") for role in ("draft", "base")}

    def length(prefix: Prefix, step: Step) -> float:
        time.sleep(delay / 4)
        return 0.9 if len(step.text) % 3 else 0.2

    reward = TableReward(length, name="length")
    fields: dict[str, Any] = {"temperature": 1.0, "max_tokens": 400, "max_thinking_tokens": 60}
    return compiled(checkpointer=saver, parts={**parts, "reward": reward}, **fields)


def child() -> None:
    """The process that gets killed: begins or resumes the run on its thread, and prints the token ids at the end."""
    database, graph_name, folder, delay = sys.argv[1:]
    with SqliteSaver.from_conn_string(database) as saver:
        graph = globals()[graph_name](saver, Path(folder), float(delay))
        unfinished = graph.get_state(thread()).tasks
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        out = graph.invoke(None if unfinished else PROBLEM, thread())
        sys.stdout.write(json.dumps([step["token_ids"] for step in out["steps"]]) + "\n")


def live(database: Path, graph: str, folder: Path, delay: float, kill_after: float | None) -> list[list[int]] | None:
    """One life of the child, ended by SIGKILL `kill_after` seconds after it is ready; None if it was killed."""
    command = [sys.executable, "-c", CHILD, str(database), graph, str(folder), str(delay)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        if kill_after is not None:
            time.sleep(kill_after)
            process.send_signal(signal.SIGKILL)
        line = process.stdout.readline()
    if not line:
        assert process.returncode == -signal.SIGKILL
        return None
    return json.loads(line)  # type: ignore[no-any-return]


def lives_until_done(database: Path, graph: str, folder: Path, delay: float, kills: list[float]) -> tuple[Any, int]:
    """(token ids of the run that at last ended, how often it was killed before)."""
    for killed, after in enumerate([*kills, None]):
        out = live(database, graph, folder, delay, after)
        if out is not None:
            return out, killed
    raise AssertionError("the last life was not to be killed")


@pytest.mark.parametrize(("seed", "graph"), [(0, table_graph), (1, table_graph), (2, scanning_graph)])
def test_table_models_at_random_moments(seed: int, graph: Any, tmp_path: Path) -> None:
    rng = random.Random(seed)
    want = [step["token_ids"] for step in graph(None, tmp_path, 0.0).invoke(PROBLEM)["steps"]]
    moments = [rng.uniform(0.05, 0.45) for _ in range(4)]
    out, killed = lives_until_done(tmp_path / "c.sqlite", graph.__name__, tmp_path, 0.03, moments)
    assert killed >= 2
    assert out == want


def test_a_miniature_transformer_in_float64(tmp_path: Path) -> None:
    from tests.miniature import build_miniature

    build_miniature(tmp_path / "draft", dtype="float64", seed=1, hidden=16, end_bias=0.5)
    build_miniature(tmp_path / "base", dtype="float64", seed=2, hidden=32, end_bias=0.5)
    want = [step["token_ids"] for step in miniature_graph(None, tmp_path, 0.0).invoke(PROBLEM)["steps"]]
    assert len(want) >= 5
    out, killed = lives_until_done(tmp_path / "c.sqlite", "miniature_graph", tmp_path, 0.0, [0.15, 0.2])
    assert killed >= 1
    assert out == want


def test_within_thinking(tmp_path: Path) -> None:
    """Each kill finds the block open, in the checkpoint that the next life reads with models loaded anew."""
    from tests.thinker import USUAL, build_thinker

    for role in ("draft", "base"):
        build_thinker(tmp_path / role, opened="prompt", laws={**USUAL, ".\n\n": {" the": 1.0}})
    whole = thinking_graph(None, tmp_path, 0.0).invoke(PROBLEM)["steps"]
    want = [step["token_ids"] for step in whole]
    (place,) = (i for i, step in enumerate(whole) if step["source"] == "given")
    database = tmp_path / "c.sqlite"
    for least in (2, 5):
        command = [sys.executable, "-c", CHILD, str(database), "thinking_graph", str(tmp_path), "0.3"]
        with (
            SqliteSaver.from_conn_string(str(database)) as saver,
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process,
        ):
            graph = thinking_graph(saver, tmp_path, 0.0)
            while len(graph.get_state(thread()).values.get("steps", ())) < least:
                assert process.poll() is None
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
            process.wait()
            kept = [step["token_ids"] for step in graph.get_state(thread()).values["steps"]]
        assert process.returncode == -signal.SIGKILL
        assert least <= len(kept) < place and kept == want[: len(kept)]
    assert live(database, "thinking_graph", tmp_path, 0.3, None) == want
