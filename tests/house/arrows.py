"""What a file imports, read off its syntax at any depth of nesting, and the circles that follow from it."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping

from .sources import Source


def imported(source: Source, modules: Collection[str] = ()) -> Iterator[str]:
    """Every absolute dotted name that a file imports, TYPE_CHECKING and `import_module` included.

    `from a import b` yields a.b, since b may be a module; relative imports are resolved. Where the argument of
    `import_module` is computed, as in f"gsi_node.{name}", each string of the file that completes it to one of `modules`
    counts (up to a colon).
    """
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = _absolute(source, node.level, node.module or "")
            yield from (f"{origin}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node.func) in ("import_module", "__import__") and node.args:
            yield from _loaded(source, node.args[0], modules)


def _absolute(source: Source, level: int, name: str) -> str:
    """A name after `level` dots, as seen from outside."""
    parts = source.module.split(".") if source.package else source.module.split(".")[:-1]
    return ".".join([*parts[: len(parts) - level + 1], *filter(None, [name])]) if level else name


def _called(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _loaded(source: Source, argument: ast.expr, modules: Collection[str]) -> Iterator[str]:
    if isinstance(argument, ast.Constant):
        name = str(argument.value)
        yield _absolute(source, len(name) - len(name.lstrip(".")), name.lstrip("."))
        return
    prefix = ""
    for part in argument.values if isinstance(argument, ast.JoinedStr) else ():
        if isinstance(part, ast.Constant):
            prefix += str(part.value)
        elif isinstance(part, ast.FormattedValue) and _called(part.value) == "__name__":
            prefix += source.module
        else:
            break
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = prefix + node.value.partition(":")[0]
            if "." in name and name in modules:
                yield name


def arrows(sources: Iterable[Source]) -> dict[str, set[str]]:
    """For each module, the modules among `sources` whose files it imports.

    A package's own file is reached by its name or by a name that it defines, not by imports of what lies inside it.
    """
    files = {source.module: source for source in sources}
    graph: dict[str, set[str]] = {}
    for module, source in files.items():
        graph[module] = set()
        for name in imported(source, files):
            while name and name not in files:
                name = name.rpartition(".")[0]
            if name and name != module:
                graph[module].add(name)
    return graph


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one file (Tarjan 1972), each sorted."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(graph[node]):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            start = stack.index(node)
            component = sorted(stack[start:])
            del stack[start:]
            if len(component) > 1:
                found.append(component)

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return sorted(found)
