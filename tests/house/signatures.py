"""Functions that take much by position, and those that hide options in **kwargs.

Two kinds of ** hide nothing of ours. One annotated with a ParamSpec's kwargs passes on what the type checker has
checked against the function that is called. And where a library calls, the library wrote the signature: in the methods
of a class that inherits from one of its classes, and in a function that is handed to one of its own, as a hook is.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from .sources import Source

MAX_POSITIONAL = 6
_LIBRARIES = ("langchain", "langchain_core", "langgraph", "torch", "transformers")


@dataclass(frozen=True, slots=True)
class Signature:
    """One function: where it stands, what it takes by position (self and cls apart), its ** parameter, its class."""

    name: str
    where: str
    positional: int
    keywords: ast.arg | None
    owner: str | None

    @property
    def passes_on(self) -> bool:
        """Whether its ** is a ParamSpec's."""
        annotation = self.keywords.annotation if self.keywords else None
        return isinstance(annotation, ast.Attribute) and annotation.attr == "kwargs"


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
            yield Signature(node.name, where, count, given.kwarg, owner)
            yield from _inside(source, node, f"{prefix}{node.name}.", None)
        elif isinstance(node, ast.ClassDef):
            yield from _inside(source, node, f"{prefix}{node.name}.", node.name)
        else:
            yield from _inside(source, node, prefix, owner)


def hidden(sources: Sequence[Source]) -> tuple[list[str], list[str]]:
    """The functions that hide options in **kwargs: those of ours, and those whose signature a library wrote."""
    ours: list[str] = []
    theirs: list[str] = []
    inherit = _inheriting(sources)
    for source in sources:
        hooks = _handed_over(source)
        for one in signatures(source):
            if one.keywords is not None and not one.passes_on:
                dictated = one.owner in inherit or (one.owner is None and one.name in hooks)
                (theirs if dictated else ours).append(f"{one.where}(**{one.keywords.arg})")
    return ours, theirs


def _inheriting(sources: Iterable[Source]) -> set[str]:
    """Names of our classes that inherit, directly or through others of ours, from one of a library's."""
    bases: dict[str, set[str]] = {}
    known: set[str] = set()
    for source in sources:
        foreign = _foreign(source)
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ClassDef):
                bases.setdefault(node.name, set()).update(map(_root, node.bases))
                known |= {node.name for base in node.bases if _root(base) in foreign}
    while more := {name for name, above in bases.items() if name not in known and above & known}:
        known |= more
    return known


def _foreign(source: Source) -> set[str]:
    """The names under which a file knows a library or what it took from one."""
    found: set[str] = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in _LIBRARIES:
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            roots = [alias for alias in node.names if alias.name.partition(".")[0] in _LIBRARIES]
            found |= {alias.asname or alias.name.partition(".")[0] for alias in roots}
    return found


def _handed_over(source: Source) -> set[str]:
    """Names that a file passes to a call of a library's function."""
    foreign = _foreign(source)
    calls = (node for node in ast.walk(source.tree) if isinstance(node, ast.Call) and _root(node.func) in foreign)
    return {argument.id for call in calls for argument in call.args if isinstance(argument, ast.Name)}


def _root(node: ast.expr) -> str:
    """The first name of a.b[c]."""
    while isinstance(node, ast.Subscript | ast.Attribute):
        node = node.value
    return getattr(node, "id", "")
