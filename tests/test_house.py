"""The rules of the house that a machine can read: walls, circles, lengths, names, light imports, named exceptions.

What a rule counts is planted and found in tests/house/test_measure.py.
"""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

from gsi_node import errors
from tests.house import arrows, walls
from tests.house.measure import MAX_LINES, measure
from tests.house.rooms import HEAVY, ROOMS
from tests.house.rules import violations
from tests.house.sources import FOLDERS, Source, read

ROOT = Path(__file__).resolve().parents[1]


def refused(source: Source) -> list[str]:
    """Every import of one file that the table of rooms refuses, with the reason."""
    found = ((name, walls.refusal(source.module, name)) for name in arrows.imported(source))
    return [f"{source.module} imports {name}: {reason}" for name, reason in found if reason is not None]


def planted(module: str, text: str) -> Source:
    """A module as it would stand in the tree."""
    return Source(f"{module.replace('.', '/')}.py", module, text)


def fresh(code: str) -> str:
    """What a new interpreter prints for `code`, started in the repository's root."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120).stdout


def test_the_house_keeps_its_rules() -> None:
    """Arrows, circles, lengths, the median, parameters, **kwargs, names: `make house ARGS=--refused` prints them."""
    assert [violation.line for violation in violations(measure(ROOT))] == []


def test_imports_point_one_way() -> None:
    """Name by name, where the figures count one arrow a module."""
    sources = [source for source in read(ROOT, "gsi_node") if source.module != "gsi_node"]
    assert [line for source in sources for line in refused(source)] == []


def test_every_room_is_there() -> None:
    modules = {source.module for folder in FOLDERS for source in read(ROOT, folder)}
    packages = {".".join(module.split(".")[:depth]) for module in modules for depth in (1, 2)}
    assert [member for room in ROOMS for member in room.members if member not in modules | packages] == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("gsi_node.core.weights", "import torch"),
        ("gsi_node.core.weights", "from gsi_node.protocols import StepModel"),
        ("gsi_node.core.weights", "from ..models import base"),
        ("gsi_node.types", "from gsi_node.errors import GSIError"),
        ("gsi_node.step.stages", "def late():\n    from gsi_node.models.transformers import load"),
        ("gsi_node.step.stages", "import langgraph.graph"),
        ("gsi_node.step.methods", "from gsi_node import graph"),
        ("gsi_node.tables.models", "from gsi_node.step.stages import draft"),
        ("gsi_node.tables.models", "from langgraph.types import Send"),
        ("gsi_node.protocols", "import torch.nn as nn"),
        ("gsi_node.graph.nodes", "from gsi_node.rewards.verifier.reward import VerifierReward"),
        ("gsi_node.graph.nodes", "import evals.run.command"),
        ("gsi_node.rewards.prm.in_process", "from tests.oracle import law"),
        ("gsi_node.neural_jko.run", "from gsi_node.step.stages import draft"),
        ("gsi_node.neural_jko.run", "from langgraph.graph import StateGraph"),
        ("gsi_node.neural_jko.flow", "import transformers"),
        ("gsi_node.step.stages", "from gsi_node.neural_jko import stack"),
        ("gsi_node.core.accept", "from gsi_node.neural_jko.rejection import Rejection"),
    ],
)
def test_a_planted_wrong_import_is_found(module: str, source: str) -> None:
    assert len(refused(planted(module, source))) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("gsi_node.core.weights", "import numpy as np\nfrom gsi_node.types import Key\nfrom . import rng"),
        ("gsi_node.step.stages", "from gsi_node.protocols import StepModel\nfrom gsi_node.core import weights"),
        ("gsi_node.models.transformers", "import torch\nfrom gsi_node.bases import AsyncTwins"),
        ("gsi_node.graph.build", "from langgraph.graph import StateGraph\nfrom gsi_node.step.stages import draft"),
        ("gsi_node.rewards.prm.in_process", "import transformers\nfrom gsi_node.bases import RewardBase"),
        ("gsi_node.neural_jko.rejection", "import torch\nfrom gsi_node.core.accept import weight_log_accept"),
    ],
)
def test_the_allowed_arrows_pass(module: str, source: str) -> None:
    assert refused(planted(module, source)) == []


def test_core_loads_no_heavy_library() -> None:
    code = (
        "import importlib, json, pkgutil, sys, gsi_node.core as core\n"
        "for found in pkgutil.walk_packages(core.__path__, 'gsi_node.core.'): importlib.import_module(found.name)\n"
        f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    assert json.loads(fresh(code)) == []


def test_the_package_imports_in_under_a_second() -> None:
    code = (
        "import json, sys, time; start = time.process_time(); import gsi_node; spent = time.process_time() - start\n"
        f"print(json.dumps([spent, [name for name in {HEAVY!r} if name in sys.modules]]))"
    )
    runs = [json.loads(fresh(code)) for _ in range(3)]
    assert all(loaded == [] for _, loaded in runs)
    assert min(seconds for seconds, _ in runs) < 1.0  # CPU seconds, so that a busy machine does not count


def test_no_file_is_long() -> None:
    rooms = ("gsi_node", "graphs", "evals", "tests")
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines())
        for room in rooms
        for path in (ROOT / room).rglob("*.py")
    }
    assert {path: length for path, length in lengths.items() if length > MAX_LINES} == {}


def test_every_exception_stands_in_the_tree_under_its_parent() -> None:
    """The tree at the top of errors.py is the true one: each class is drawn once, one level below its base."""
    drawn: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        head = line.lstrip("│├└─ ")
        if not head or (line == head and path):
            continue
        name = head.split()[0]
        if not hasattr(errors, name):
            continue
        depth = (len(line) - len(head)) // 4
        path[depth:] = [name]
        drawn[name] = path[depth - 1] if depth else "Exception"
    real = {
        name: kind.__bases__[0].__name__
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if kind.__module__ == errors.__name__
    }
    assert drawn == real


def test_langgraph_json_names_graphs_that_exist() -> None:
    """Paths in langgraph.json are relative to that file, and its dependency is the package itself."""
    folder = ROOT
    config = json.loads((folder / "langgraph.json").read_text("utf-8"))
    assert [(folder / path).resolve() for path in config["dependencies"]] == [ROOT]
    for target in config["graphs"].values():
        path, variable = target.split(":")
        tree = ast.parse((folder / path).read_text("utf-8"))
        assigned = {
            name.id
            for node in tree.body
            for name in ast.walk(node)
            if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
        }
        defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert variable in assigned | defined
