"""The figures of one tree, and the places behind each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import TypedDict

from . import arrows, names, passages, signatures, walls
from .sources import FOLDERS, Source, read

MAX_LINES = 300
_AT_HOME = ("__init__", "__main__")


class Measured(TypedDict):
    """`figures` by label, in the order of the table; under the same labels `places`, what was counted, a line each."""

    figures: dict[str, float]
    places: dict[str, list[str]]


def measure(root: Path, moved: Mapping[str, str] | None = None) -> Measured:
    """Counts a tree; `moved` maps its modules to the places of this house that they correspond to."""
    sources = {folder: read(root, folder) for folder in FOLDERS}
    every = [source for folder in FOLDERS for source in sources[folder]]
    figures: dict[str, float] = {}
    for folder, files in {**sources, "together": every, "tests": read(root, "tests")}.items():
        figures[f"{folder}: files"] = len(files)
        figures[f"{folder}: lines of code"] = sum(len(source.code) for source in files)
        figures[f"{folder}: lines as they stand"] = sum(source.raw_lines for source in files)
    figures["median length of a file"] = median(source.raw_lines for source in every) if every else 0
    figures["longest file"] = max((source.raw_lines for source in every), default=0)
    loose = _loose(sources["gsi_node"])
    places = {
        f"files over {MAX_LINES} lines": [f"{s.path} {s.raw_lines}" for s in every if s.raw_lines > MAX_LINES],
        "loose files at the root of gsi_node": loose,
        "loose files there that are not of the ground": [
            source.path for source in sources["gsi_node"] if source.path in loose and not _ground(source, moved)
        ],
        "loose files at the root of evals": _loose(sources["evals"]),
        "circles of files": [" ↔ ".join(circle) for circle in arrows.circles(arrows.arrows(every))],
        **_refused(every, moved),
        **_functions(every),
        **_names(every),
    }
    figures |= {label: len(found) for label, found in places.items()}
    for folder, files in sources.items():
        label = f"uses of Any in {folder}"
        counts = {source.path: names.anys(source) for source in files}
        figures[label] = sum(counts.values())
        if folder == "evals":
            places[label] = [f"{path} {count}" for path, count in counts.items() if count]
    found = passages.passages(every)
    label = f"passages of {passages.SHORTEST} lines and more that stand twice"
    figures[label] = len(found)
    figures["lines of these passages"] = sum(passage.lines for passage in found)
    places[label] = [f"{one.lines} lines: {one.first} = {one.second}" for one in found]
    return {"figures": figures, "places": places}


def _loose(sources: list[Source]) -> list[str]:
    """Modules at the root of a package."""
    return [s.path for s in sources if s.path.count("/") == 1 and Path(s.path).stem not in _AT_HOME]


def _ground(source: Source, moved: Mapping[str, str] | None) -> bool:
    room = walls.room_of(source.module, moved)
    return room is not None and room.name == "ground"


def _refused(sources: list[Source], moved: Mapping[str, str] | None) -> dict[str, list[str]]:
    up: list[str] = []
    through: list[str] = []
    modules = {source.module for source in sources}
    homeless = {module for module in modules if walls.room_of(module, moved) is None}
    for source in sources:
        if source.module == "gsi_node":
            continue  # the front door names everything, and loads what is asked for
        for name in sorted({_target(name, modules) for name in arrows.imported(source, modules)} - homeless):
            reason = walls.refusal(source.module, name, moved)
            if reason is not None:
                (up if reason.startswith("up") else through).append(f"{source.module} imports {name} ({reason})")
    return {
        "imports up": up,
        "imports that a room does without": through,
        "files in no room": [source.path for source in sources if source.module in homeless],
    }


def _target(name: str, modules: set[str]) -> str:
    """The module of ours that an imported name is or stands in, else the library: one arrow, whatever it fetches."""
    library = name.partition(".")[0]
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name or library


def _functions(sources: list[Source]) -> dict[str, list[str]]:
    ours, theirs = signatures.hidden(sources)
    every = [one for source in sources for one in signatures.signatures(source)]
    wide = [f"{one.where} {one.positional}" for one in every if one.positional > signatures.MAX_POSITIONAL]
    return {
        f"functions with more than {signatures.MAX_POSITIONAL} parameters by position": wide,
        "functions of ours that hide options in **kwargs": ours,
        "functions with **kwargs in a library's signature": theirs,
    }


def _names(sources: list[Source]) -> dict[str, list[str]]:
    lines = {name: f"{name}: {', '.join(found)}" for name, found in names.twice(sources).items()}
    return {
        "names of classes and aliases in several files": [v for k, v in lines.items() if not k.startswith("_")],
        "such names with a leading underscore": [v for k, v in lines.items() if k.startswith("_")],
    }
