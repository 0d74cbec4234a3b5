"""Functions that take much by position, and those that hide options in **kwargs."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from .sources import Source

MAX_POSITIONAL = 6
_FRAMEWORKS = ("langchain", "langgraph")


@dataclass(frozen=True, slots=True)
class Signature:
    """One function: where it stands, what it takes by position (self and cls apart), its ** parameter."""

    where: str
    positional: int
    hidden: str | None
    owner: str | None


def signatures(source: Source) -> Iterator[Signature]:
    """Every function of a file, nested ones included."""
    yield from _inside(source, source.tree, "", None)


def _inside(source: Source, parent: ast.AST, prefix: str, owner: str | None) -> Iterator[Signature]:
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = node.args
            static = any(isinstance(mark, ast.Name) and mark.id == "staticmethod" for mark in node.decorator_list)
            count = len(given.posonlyargs) + len(given.args) - (owner is not None and not static)
            where = f"{source.path}:{node.lineno} {prefix}{node.name}"
            yield Signature(where, count, given.kwarg.arg if given.kwarg else None, owner)
            yield from _inside(source, node, f"{prefix}{node.name}.", None)
        elif isinstance(node, ast.ClassDef):
            yield from _inside(source, node, f"{prefix}{node.name}.", node.name)
        else:
            yield from _inside(source, node, prefix, owner)


def framework_classes(sources: Iterable[Source]) -> set[str]:
    """Names of our classes that inherit, directly or through others of ours, from one of LangChain or LangGraph."""
    bases: dict[str, set[str]] = {}
    known: set[str] = set()
    for source in sources:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_FRAMEWORKS):
                known |= {alias.asname or alias.name for alias in node.names}
            elif isinstance(node, ast.ClassDef):
                bases.setdefault(node.name, set()).update(map(_base, node.bases))
    while more := {name for name, above in bases.items() if name not in known and above & known}:
        known |= more
    return known & set(bases)


def _base(node: ast.expr) -> str:
    node = node.value if isinstance(node, ast.Subscript) else node
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def hidden(source: Source, frameworks: Collection[str]) -> tuple[list[str], list[str]]:
    """The functions that take **kwargs: those of ours, and those whose signature a framework's class gives."""
    found = [one for one in signatures(source) if one.hidden is not None]
    ours = [f"{one.where}(**{one.hidden})" for one in found if one.owner not in frameworks]
    theirs = [f"{one.where}(**{one.hidden})" for one in found if one.owner in frameworks]
    return ours, theirs
