"""Names of classes and of module-level aliases of types, and those that more than one file defines."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from .sources import Source

_CLASS_LIKE = re.compile(r"_*[A-Z](\w*[a-z]\w*)?")  # CamelCase or one capital letter; constants are not
_BUILTIN = set("bool bytes complex dict float frozenset int list ndarray object set str tuple type".split())
_MAKERS = set("TypedDict NamedTuple namedtuple NewType Enum IntEnum StrEnum TypeAliasType".split())


def defined(source: Source) -> Iterator[tuple[str, int]]:
    """Every class (TypedDicts, Protocols, NamedTuples among them) and alias, with its line."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ClassDef):
            yield node.name, node.lineno
    for statement in _top(source.tree.body):
        target = _alias(statement)
        if target is not None:
            yield target, statement.lineno


def _top(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module, those under `if` and `try` included."""
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try):
            yield from _top([child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)])


def _alias(node: ast.stmt) -> str | None:
    """The name that a statement gives to a type: X = …, X: TypeAlias = …, type X = …"""
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        name = node.targets[0].id
        return name if _CLASS_LIKE.fullmatch(name) and (_is_type(node.value) or _makes(node.value)) else None
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id if _last(node.annotation) == "TypeAlias" else None
    if type(node).__name__ == "TypeAlias":  # Python 3.12
        return _last(getattr(node, "name"))  # noqa: B009
    return None


def _is_type(node: ast.expr) -> bool:
    """Whether an expression reads as a type: a class's name, a subscript of one, a union."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        sides = (node.left, node.right)
        return all(_is_type(side) or (isinstance(side, ast.Constant) and side.value is None) for side in sides)
    name = _last(node.value if isinstance(node, ast.Subscript) else node)
    return name in _BUILTIN or _CLASS_LIKE.fullmatch(name) is not None


def _makes(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and _last(node.func) in _MAKERS


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def twice(sources: Iterable[Source]) -> dict[str, list[str]]:
    """For each name that more than one file defines, its places. Branches of one file count once."""
    places: dict[str, dict[str, str]] = {}
    for source in sources:
        for name, line in defined(source):
            places.setdefault(name, {}).setdefault(source.path, f"{source.path}:{line}")
    return {name: list(files.values()) for name, files in sorted(places.items()) if len(files) > 1}


def anys(source: Source) -> int:
    """How often a file writes `Any`, in the strings of `cast` as well; imports of the name apart."""
    trees: list[ast.AST] = [source.tree]
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and _last(node.func) == "cast" and isinstance(node.args[0], ast.Constant):
            trees.append(ast.parse(str(node.args[0].value), mode="eval"))
    found = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name | ast.Attribute))
    return sum(_last(node) == "Any" for node in found)
