"""The rules of the house that a machine can read: import arrows, light imports, short files, named exceptions."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gsi_node import errors

ROOT = Path(__file__).resolve().parents[1]
MAX_LINES = 300
HEAVY = ("torch", "transformers", "langgraph", "langchain_core", "matplotlib", "sympy", "reasoning_gym")
OUTSIDE = ("graphs", "evals", "tests")
DECIDING = ("gsi_node.step",)  # pure: it sees backends through protocols only
BACKENDS = ("gsi_node.models", "gsi_node.rewards", "gsi_node.engine", "gsi_node.text", "gsi_node.pocket")
JKO = ("gsi_node.neural_jko",)  # the second system: it shares core with the first, and nothing else
BASES = ("gsi_node.protocols",)
TABLES = ("gsi_node.tables",)  # finite and numpy only: the law of a step sums over them
TOOLS = ("gsi_node.tools.obvious",)  # a benchmark's other side, which works on plain transformers models


def within(name: str, rooms: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of the rooms or lies inside one."""
    return any(name == room or name.startswith(room + ".") for room in rooms)


def imported(module: str, source: str, package: bool) -> Iterator[str]:
    """Every absolute dotted name that a module's source imports, at any depth of nesting.

    `from a import b` yields a.b, since b may be a module; relative imports are resolved against `module`.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".") if package else module.split(".")[:-1]
            parts = parts[: len(parts) - node.level + 1] if node.level else []
            origin = ".".join([*parts, node.module] if node.module else parts)
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def refusal(module: str, name: str) -> str | None:
    """Why `module` may not import `name`; None if it may."""
    ours = within(name, ("gsi_node",))

    if within(name, OUTSIDE):
        return "the package knows nothing of what is built on it"
    if within(name, ("langgraph",)) and not within(module, ("gsi_node.graph",)):
        return "only gsi_node.graph imports langgraph"
    if within(module, JKO):
        if ours and not within(name, (*JKO, "gsi_node.core", "gsi_node.types", "gsi_node.errors", "gsi_node.host")):
            return "neural JKO shares core, types, errors and host only"
        if within(name, ("transformers", "matplotlib")):
            return "neural JKO needs torch only"
        return None
    if within(name, JKO):
        return "nothing in the package is built on neural JKO"
    if within(name, ("torch", "transformers")) and not within(module, (*BACKENDS, *TOOLS)):
        return "only backends import torch and transformers"
    if within(module, BASES) and within(name, HEAVY):
        return "a protocol costs nothing to import"
    if within(module, ("gsi_node.types",)) and ours:
        return "types imports nothing of ours"
    if within(module, ("gsi_node.errors",)) and ours:
        return "errors imports nothing of ours"
    if within(module, ("gsi_node.core",)):
        if ours and not within(name, ("gsi_node.core", "gsi_node.types", "gsi_node.errors")):
            return "core imports types and errors only"
        if within(name, HEAVY):
            return "core needs numpy only"
    if within(module, (*BACKENDS, *TABLES)) and within(name, ("gsi_node.graph", *DECIDING)):
        return "a backend imports its own base and core only"
    if within(module, DECIDING) and within(name, ("gsi_node.graph",)):
        return "stages and methods are pure: the graph is built on them"
    if within(module, ("gsi_node.graph", *DECIDING)) and within(name, BACKENDS):
        return "only graphs, evals and one load function construct backends"
    return None


def violations(module: str, source: str, package: bool = False) -> list[str]:
    """Every refused import of one module, with the rule it breaks."""
    found = ((name, refusal(module, name)) for name in imported(module, source, package))
    return [f"{module} imports {name}: {reason}" for name, reason in found if reason is not None]


def package_files() -> Iterator[tuple[str, Path]]:
    """Dotted name and path of every module in the package but its lazy front door."""
    for path in sorted((ROOT / "gsi_node").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name != "gsi_node":
            yield name, path


def fresh(code: str) -> str:
    """What a new interpreter prints for `code`, started in the repository's root."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120).stdout


def test_imports_point_one_way() -> None:
    found = [
        line
        for name, path in package_files()
        for line in violations(name, path.read_text("utf-8"), package=path.name == "__init__.py")
    ]
    assert found == []


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
    assert len(violations(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("gsi_node.core.weights", "import numpy as np\nfrom gsi_node.types import Key\nfrom . import rng"),
        ("gsi_node.step.stages", "from gsi_node.protocols import StepModel\nfrom gsi_node.core import weights"),
        ("gsi_node.models.transformers", "import torch\nfrom gsi_node.protocols import AsyncTwins"),
        ("gsi_node.graph.build", "from langgraph.graph import StateGraph\nfrom gsi_node.step.stages import draft"),
        ("gsi_node.rewards.prm.in_process", "import transformers\nfrom gsi_node.protocols import RewardBase"),
        ("gsi_node.neural_jko.rejection", "import torch\nfrom gsi_node.core.accept import weight_log_accept"),
    ],
)
def test_the_allowed_arrows_pass(module: str, source: str) -> None:
    assert violations(module, source) == []


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
    folder = ROOT / "graphs"
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
