"""An object of the engine has the attributes that its __init__ gives it, and no others come later."""

from __future__ import annotations

import ast
from pathlib import Path

import gsi_node.engine

FILES = sorted(Path(gsi_node.engine.__file__).parent.glob("*.py"))


def assigned(tree: ast.AST) -> set[str]:
    """The names x of `self.x = …`."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }


def late(source: str) -> list[str]:
    """class.attribute of every one that a method makes and neither __init__ nor the class's body declares."""
    found = []
    for kind in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)):
        methods = [node for node in kind.body if isinstance(node, ast.FunctionDef)]
        fields = {
            node.target.id
            for node in kind.body
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        }
        made = fields.union(*(assigned(method) for method in methods if method.name == "__init__"))
        found += [f"{kind.name}.{name}" for method in methods for name in sorted(assigned(method) - made)]
    return found


def test_no_attribute_comes_after_init() -> None:
    assert [name for file in FILES for name in late(file.read_text("utf-8"))] == []


def test_a_late_one_is_found() -> None:
    planted = (
        "class A:\n    b: int\n    def __init__(self): self.c = 1\n    def f(self): self.b = self.c = self.d = 2\n"
    )
    assert late(planted) == ["A.d"]
