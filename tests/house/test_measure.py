"""Each thing that `python -m tests.house` counts, planted in a small tree: it counts it, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.__main__ import table
from tests.house.measure import Measured, measure
from tests.house.rooms import ROOMS
from tests.house.rules import REFUSED, violations
from tests.house.walls import markdown, refusal, room_of

ROOT = Path(__file__).resolve().parents[2]
CLEAN = {
    "gsi_node/__init__.py": '"""Front."""\nfrom importlib import import_module\n_HOME = {"Key": "types"}\n',
    "gsi_node/types.py": '"""Doc.\n\nMore."""\n\n# why\nclass Key:  # so\n    """D."""\n\n    n: int\n    """U."""\n',
    "gsi_node/core/__init__.py": "",
    "gsi_node/core/choose.py": "import numpy\nfrom gsi_node.types import Key\n",
    "evals/__init__.py": "",
    "evals/rows/__init__.py": "from gsi_node.types import Key\n",
    "graphs/solver.py": "from gsi_node import Key\n",
}
UP, WALL, CIRCLES = "imports up", "imports that a room does without", "circles of files"
WIDE, HIDDEN = "functions with more than 6 parameters by position", "functions of ours that hide options in **kwargs"
THEIRS, NAMES = "functions with **kwargs in a library's signature", "names of classes and aliases in several files"
PRIVATE, LONG, HOMELESS = "such names with a leading underscore", "files over 300 lines", "files in no room"
LOOSE = "loose files there that are not of the ground"
ANY, TWICE = "uses of Any in evals", "passages of 6 lines and more that stand twice"
PASSAGE = "a = 1\nb = 2\n\nif a:  # why\n    c = 3\n    d = 4\n    e = 5\n"
CHILD = "from langgraph.x import Base\nclass Ours(Base): ...\nclass Node(Ours):\n    def invoke(self, **kwargs): ...\n"
VIOLATIONS: list[tuple[str, dict[str, str]]] = [
    (CIRCLES, {"core/a.py": "if TYPE_CHECKING:\n    from . import b", "core/b.py": "from .a import x"}),
    (CIRCLES, {"core/a.py": "import gsi_node.core.b", "core/b.py": "def f():\n    import_module('gsi_node.core.a')"}),
    (CIRCLES, {"core/a.py": "from . import b", "core/b.py": "P = 'core.a:f'\nlib.import_module(f'gsi_node.{x}')"}),
    (UP, {"core/a.py": "def f():\n    from gsi_node.step.rules import Rule"}),
    (UP, {"core/a.py": "from ..graph import build"}),
    (UP, {"step/a.py": "from gsi_node import Key"}),
    (UP, {"../evals/rows/a.py": "import evals.report.tables"}),
    (UP, {"cli/a.py": "from evals.run import execute"}),
    (WALL, {"rewards/a.py": "from gsi_node.step.config import GSIConfig", "step/config.py": ""}),
    (WALL, {"service/a.py": "import torch.nn as nn"}),
    (WALL, {"rewards/a.py": "import langchain_core.runnables, langchain_core.load"}),
    (WALL, {"errors.py": "from gsi_node.types import Key"}),
    (WALL, {"core/a.py": "from gsi_node.protocols import Reward", "protocols.py": ""}),
    (WALL, {"graph/a.py": "P = 'models.remote:load'\nimport_module(f'gsi_node.{x}')", "models/remote.py": ""}),
    (WALL, {"core/a.py": "from tests.oracles import law"}),
    (LONG, {"core/a.py": "#\n" * 301}),
    (WIDE, {"core/a.py": "class A:\n    async def f(self, a, b, /, c, d, e, f, g=1, *, h): ..."}),
    (WIDE, {"core/a.py": "def out():\n    def f(a, b, c, d, e, f, g): ..."}),
    (HIDDEN, {"core/a.py": "def f(**options): ..."}),
    (HIDDEN, {"core/a.py": "class Module: ...\nclass A(Module):\n    def f(self, **options): ..."}),
    (HIDDEN, {"engine/a.py": "import torch\ndef f(**options): ...\ntorch.hook(g)\nown(f)"}),
    (THEIRS, {"graph/a.py": CHILD}),
    (THEIRS, {"engine/a.py": "from torch import nn\nclass A(nn.Module):\n    def forward(self, **more): ..."}),
    (THEIRS, {"engine/a.py": "import torch\ndef f(x, **more): ...\ntorch.fx.register('f', f)"}),
    (NAMES, {"core/a.py": "class Key: ..."}),
    (NAMES, {"core/a.py": "Plain = dict[str, int]", "../evals/rows/a.py": "Plain: TypeAlias = dict"}),
    (NAMES, {"core/a.py": "Way = Literal['a']", "core/b.py": "if x:\n    Way = str | None"}),
    (PRIVATE, {"core/a.py": "class _A(TypedDict): ...", "core/b.py": "_A = NamedTuple('_A', [])"}),
    (ANY, {"../evals/rows/a.py": "from typing import Any\nx: dict[str, Any]"}),
    (ANY, {"../evals/rows/a.py": "cast('list[Any]', 3)"}),
    (TWICE, {"core/a.py": "z = 0\n" + PASSAGE, "core/b.py": PASSAGE.replace("  # why", "").replace("if a", "if  a")}),
    (TWICE, {"core/a.py": PASSAGE + "import os\n" + PASSAGE}),
    (HOMELESS, {"attic/a.py": ""}),
    (LOOSE, {"attic.py": ""}),
]  # fmt: skip


def planted(root: Path, files: dict[str, str]) -> Measured:
    """The figures of the clean tree with some files more, whose paths start in gsi_node."""
    for path, text in {**CLEAN, **{f"gsi_node/{path}": text for path, text in files.items()}}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, "utf-8")
    return measure(root)


def test_a_clean_tree_has_none(tmp_path: Path) -> None:
    clean = planted(tmp_path, {})
    assert [place for places in clean["places"].values() for place in places] == ["gsi_node/types.py"]  # loose
    figures = clean["figures"]
    assert (figures["gsi_node: files"], figures["evals: files"], figures["graphs: files"]) == (4, 2, 1)
    assert (figures["gsi_node: lines of code"], figures["gsi_node: lines as they stand"]) == (6, 15)


@pytest.mark.parametrize(("label", "files"), VIOLATIONS)
def test_a_planted_violation_is_counted_once_and_as_nothing_else(
    tmp_path: Path, label: str, files: dict[str, str]
) -> None:
    measured = planted(tmp_path, files)
    listed = {label: len(places) for label, places in measured["places"].items() if places}
    counts = {label: count for label, count in listed.items() if "at the root" not in label}
    assert counts == {label: 1} or (label == LOOSE and counts == {label: 1, HOMELESS: 1})
    assert measured["figures"][label] == 1
    refused = [violation.line.partition(" [")[0] for violation in violations(measured)]
    assert refused == [label for label in counts if label in REFUSED]


def test_a_violation_of_each_kind_is_planted(tmp_path: Path) -> None:
    assert {label for label, _ in VIOLATIONS} >= set(REFUSED)
    long = planted(tmp_path, {f"core/{name}.py": "#\n" * 100 for name in "abcdefgh"})
    assert [violation.what for violation in violations(long)] == ["median length of a file"]


def test_a_violation_is_named_by_what_stays_when_lines_move(tmp_path: Path) -> None:
    text = "def f(a, b, c, d, e, f, g): ...\nclass Key: ..."
    one, other = (violations(planted(tmp_path / str(n), {"core/a.py": "\n" * n + text})) for n in (0, 3))
    assert [violation.what for violation in one] == ["gsi_node/core/a.py f 7", "Key"]
    assert [violation.what for violation in one] == [violation.what for violation in other]
    assert other[0].line == f"{WIDE} [core]: gsi_node/core/a.py:4 f 7"
    assert other[1].line == f"{NAMES} [core, ground]: Key: gsi_node/core/a.py:5, gsi_node/types.py:6"


def test_what_is_allowed_is_not_counted(tmp_path: Path) -> None:
    files = {
        "step/a.py": "from gsi_node.core import choose\ndef f(a, b, c, d, e, f, *rest, g, h): ...",
        "engine/a.py": "import torch",
        "graph/a.py": "import langgraph\nclass A:\n    def f(self, a, b, c, d, e, f): ...",
        "core/a.py": PASSAGE.replace("a = 1\n", ""),  # five lines
        "core/b.py": PASSAGE.replace("a = 1\n", ""),
        "core/e.py": "def run(f: Callable[P, T], *args: P.args, **kwargs: P.kwargs): ...",
        "core/c.py": "T = TypeVar('T')\nLIMIT = other.LIMIT\nname = str",
        "core/d.py": "T = TypeVar('T')\nLIMIT = other.LIMIT\nname = str",
    }
    assert planted(tmp_path, files)["places"] == planted(tmp_path / "clean", {})["places"]


def test_three_places_of_a_passage_are_three_pairs(tmp_path: Path) -> None:
    measured = planted(tmp_path, {f"core/{name}.py": f"{name} = 0\n{PASSAGE}" for name in "xyz"})
    assert measured["figures"][TWICE] == 3
    assert measured["figures"]["lines of these passages"] == 18
    assert measured["places"][TWICE][0] == "6 lines: gsi_node/core/x.py:2 = gsi_node/core/y.py:2"


def test_another_house_is_mapped_to_these_rooms(tmp_path: Path) -> None:
    planted(tmp_path, {"load.py": "", "core/a.py": "import gsi_node.load"})
    places = measure(tmp_path, {"gsi_node.load": "gsi_node.specs.load"})["places"]
    assert places[HOMELESS] == []
    assert places[UP] == ["gsi_node.core.a imports gsi_node.load (up: specs stands above core)"]


def test_every_room_imports_only_from_above_itself() -> None:
    ranks = {room.name: rank for rank, room in enumerate(ROOMS)}
    assert len(ranks) == len(ROOMS) == len({room.members for room in ROOMS})
    seen = [(room.name, name, room_of(name) if "." in name else None) for room in ROOMS for name in room.sees or ()]
    assert all(ranks[there.name if there else name] < ranks[room] for room, name, there in seen)
    assert room_of("gsi_node") != room_of("gsi_node.core.rng") and room_of("numpy") is None
    assert refusal("gsi_node.types", "numpy") is None
    assert len(markdown().splitlines()) == len(ROOMS) + 4


def test_the_command_prints_two_trees_beside_each_other(tmp_path: Path) -> None:
    before = planted(tmp_path / "before", {"core/a.py": "from . import b", "core/b.py": "from . import a"})
    now = planted(tmp_path / "now", {})
    command = [sys.executable, "-m", "tests.house", str(tmp_path / "now"), "--against", str(tmp_path / "before")]
    run = [subprocess.check_output([*command, *more], cwd=ROOT, text=True) for more in ([], ["--json"])]
    assert run[0].startswith(table({"before": before, "now": now}))
    assert {len(line) for line in run[0].split("\n\n")[0].splitlines()} == {len(run[0].splitlines()[0])}
    assert json.loads(run[1]) == {"before": before, "now": now}
    assert next(line for line in run[0].splitlines() if line.startswith(CIRCLES)).split()[-2:] == ["1", "0"]
