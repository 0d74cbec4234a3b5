"""A checkpoint file that tries to run code: refused, wherever in the file it tries, and nothing is run."""

from __future__ import annotations

import json
import pickle
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.types import Overwrite, Send

from gsi_node import StrictSerializer
from gsi_node.errors import ConfigError, UnsafeCheckpoint
from tests.crash.test_checkpoints import Capture, asked
from tests.graph.world import compiled
from tests.graphs.tables import command

SAMPLES: list[Any] = [
    None,
    b"bytes",
    {"a": [1, 2.5, "three", None, True], 4: {}},
    [AIMessage(content="x", name="gsi", response_metadata={"answer": "7"}), HumanMessage(content="y")],
    Overwrite([{"a": 1}]),
    Send("solve", {"index": 0}),
]


def calling(code: int, module: str, name: str, argument: Any, method: str = "") -> bytes:
    """An entry that asks its reader to call something."""
    content = [module, name, argument, *([method] if method else [])]
    return ormsgpack.packb({"deep": [ormsgpack.Ext(code, ormsgpack.packb(content))]})


def hostile(marker: Path) -> dict[str, tuple[str, bytes]]:
    """Entries, each of which makes `marker` where LangGraph's own reader reads it, or once did."""
    touch = f"touch {marker}"
    within = ormsgpack.Ext(7, calling(0, "os", "system", touch))
    message = [
        "langchain_core.messages.ai",
        "AIMessage",
        {"content": ormsgpack.Ext(0, calling(0, "os", "system", touch))},
    ]
    constructor = {"lc": 2, "type": "constructor", "id": ["os", "system"], "args": [touch]}
    return {
        "one argument": ("msgpack", calling(0, "os", "system", touch)),
        "arguments": ("msgpack", calling(1, "os", "system", [touch])),
        "keywords": ("msgpack", calling(2, "subprocess", "check_output", {"args": touch, "shell": True})),
        "method": ("msgpack", calling(3, "pathlib", "Path", str(marker), "touch")),
        "pydantic 1": ("msgpack", calling(4, "subprocess", "check_output", {"args": touch, "shell": True})),
        "pydantic 2": ("msgpack", calling(5, "subprocess", "check_output", {"args": touch, "shell": True})),
        "snapshot": ("msgpack", ormsgpack.packb([within])),
        "in a message": ("msgpack", ormsgpack.packb(ormsgpack.Ext(5, ormsgpack.packb(message)))),
        "a harmless class that is not ours": ("msgpack", calling(0, "decimal", "Decimal", "1")),
        "a class of ours by another name": ("msgpack", calling(0, "gsi_node.specs.load", "load_model", "pocket:draft")),
        "array": ("msgpack", calling(6, "<f8", "x", b"")),
        "unknown extension": ("msgpack", ormsgpack.packb(ormsgpack.Ext(99, b"\xc0"))),
        "pickle": ("pickle", pickle.dumps(Decimal(1))),
        "json": ("json", json.dumps(constructor).encode()),
    }


NAMES = sorted(hostile(Path()))
RUN_BY_LANGGRAPH = ["one argument", "arguments", "keywords", "pydantic 1", "pydantic 2", "snapshot", "in a message"]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_ours_is_refused_and_not_run(name: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    entry = hostile(marker)[name]
    with pytest.raises(UnsafeCheckpoint):
        StrictSerializer().loads_typed(entry)
    assert not marker.exists()
    if name in RUN_BY_LANGGRAPH:  # the test's own entries do run
        JsonPlusSerializer(allowed_msgpack_modules=True).loads_typed(entry)
        assert marker.exists()


@pytest.mark.parametrize("value", SAMPLES, ids=repr)
def test_what_our_states_hold_is_read_as_it_was_written(value: Any) -> None:
    serializer = StrictSerializer()
    assert serializer.loads_typed(serializer.dumps_typed(value)) == value


def test_a_parents_own_classes_are_named() -> None:
    value = {"sum": Decimal("1.5"), "messages": [SystemMessage(content="be brief")]}
    kept = StrictSerializer().dumps_typed(value)
    with pytest.raises(UnsafeCheckpoint, match=r"decimal\.Decimal"):
        StrictSerializer().loads_typed(kept)
    assert StrictSerializer(also=[Decimal, SystemMessage]).loads_typed(kept) == value


@given(st.sampled_from(["msgpack", "json", "pickle", "null", "bytes", "", None]), st.binary() | st.none() | st.text())
def test_bytes_of_any_kind_give_plain_values_or_typed_errors(kind: Any, blob: Any) -> None:
    try:
        StrictSerializer().loads_typed((kind, blob))
    except ConfigError:
        return


def test_nesting_without_end_is_a_typed_error() -> None:
    blob = b"\xc0"
    for _ in range(5000):
        blob = ormsgpack.packb(ormsgpack.Ext(7, blob))
    for deep in (blob, b"\x91" * 100_000 + b"\xc0"):
        with pytest.raises(ConfigError, match="broken"):
            StrictSerializer().loads_typed(("msgpack", deep))


PLACES = [
    ("UPDATE checkpoints SET type = ?, checkpoint = ?", "WHERE checkpoint_ns = ''"),
    ("UPDATE writes SET type = ?, value = ?", "WHERE checkpoint_ns = ''"),
    ("UPDATE checkpoints SET type = ?, checkpoint = ?", "WHERE checkpoint_ns <> ''"),
    ("UPDATE writes SET type = ?, value = ?", "WHERE checkpoint_ns <> '' AND channel = 'steps'"),
]


@pytest.mark.parametrize("place", PLACES, ids=["checkpoint", "writes", "sample's checkpoint", "sample's steps"])
@pytest.mark.parametrize("name", ["one argument", "json", "pickle"])
def test_the_solver_refuses_such_a_file(
    name: str, place: tuple[str, str], tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    file, marker = tmp_path / "a.sqlite", tmp_path / "marker"
    stored, count = AsyncSqliteSaver.aput_writes, 0

    async def dying(self: Any, *given: Any) -> None:
        nonlocal count
        await stored(self, *given)
        count += 1
        if count == 12:  # the samples are under way
            raise sqlite3.OperationalError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(AsyncSqliteSaver, "aput_writes", dying)
        assert command(asked(file)) == 1
    with sqlite3.connect(file) as connection:
        assert connection.execute(" ".join(place), hostile(marker)[name]).rowcount > 0
    connection.close()
    capsys.readouterr()
    assert command(asked(file)) == 2
    told = capsys.readouterr()
    assert (told.out, "Traceback" in told.err) == ("", False)
    assert "error: a checkpoint" in told.err
    assert "could run code" in told.err or "can run code" in told.err
    assert not marker.exists()


@pytest.mark.parametrize("name", ["one argument", "json", "pickle"])
def test_neural_jko_refuses_such_a_folder(name: str, tmp_path: Path, capsys: Capture) -> None:
    from tests.crash.system_jko import command as train

    folder, marker = tmp_path, tmp_path / "marker"
    assert train(folder) == 0
    capsys.readouterr()
    with sqlite3.connect(folder / "run" / "checkpoint.sqlite") as connection:
        connection.execute("UPDATE checkpoints SET type = ?, checkpoint = ?", hostile(marker)[name])
    connection.close()
    assert train(folder) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: a checkpoint ")
    assert told.count("\n") == 1
    assert not marker.exists()


def test_a_saver_of_ones_own_goes_on_with_it(tmp_path: Path) -> None:
    """As docs/node.md shows: the node as a root graph, stopped before one of its nodes, and begun again elsewhere."""
    config: Any = {"configurable": {"thread_id": "t"}}
    whole = compiled().invoke({"messages": [HumanMessage("2 + 2")]})
    for turn in range(2):
        connection = sqlite3.connect(tmp_path / "run.sqlite", check_same_thread=False)
        graph = compiled(checkpointer=SqliteSaver(connection, serde=StrictSerializer()))
        if turn == 0:
            graph.invoke({"messages": [HumanMessage("2 + 2")]}, config, interrupt_before=["tilt_and_accept"])
            assert graph.get_state(config).tasks
        else:
            found = graph.invoke(None, config)
            assert not graph.get_state(config).tasks
        connection.close()
    assert [step["token_ids"] for step in found["steps"]] == [step["token_ids"] for step in whole["steps"]]
    assert isinstance(found["messages"][-1], AIMessage)
