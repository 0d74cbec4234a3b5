"""Which imports the table of rooms refuses, and the table as CONTRIBUTING.md shows it."""

from __future__ import annotations

from collections.abc import Mapping

from .rooms import ALONE, FRONTS, HEAVY, ROOMS, Room

_RANK = {room.name: rank for rank, room in enumerate(ROOMS)}
_MEMBERS = {member: room for room in ROOMS for member in room.members}


def within(name: str, package: str) -> bool:
    """Whether a dotted name is `package` or lies inside it."""
    return name == package or name.startswith(package + ".")


def _longest(name: str, packages: Mapping[str, object]) -> str | None:
    """The longest of the dotted names that `name` is or lies inside."""
    while name and name not in packages:
        name = name.rpartition(".")[0]
    return name or None


def room_of(module: str, moved: Mapping[str, str] | None = None) -> Room | None:
    """The room of a module; `moved` names the place that a module of another house corresponds to."""
    if moved and (old := _longest(module, moved)) is not None:
        module = moved[old] + module[len(old) :]
    member = _longest(module, _MEMBERS)
    return None if member is None or (member in FRONTS and module != member) else _MEMBERS[member]


def refusal(module: str, name: str, moved: Mapping[str, str] | None = None) -> str | None:
    """Why `module` may not import the dotted `name`; None if it may. One that starts with "up" breaks the order."""
    here = room_of(module, moved)
    if within(name, "tests"):
        return "nothing is built on the tests"
    if here is None:
        return None  # reported as a module without a room
    library = _longest(name, dict.fromkeys(HEAVY))
    if library is not None and library not in here.libraries and here.name != "front door":
        return f"{here.name} does without {library}"
    front = next((front for front in FRONTS if within(name, front)), None)
    there = room_of(name, moved) or (_MEMBERS[front] if front else None)  # a name of the front door's own
    if there is None:
        return None
    if module in ALONE:
        return f"{module} imports nothing of ours"
    if there == here:
        return None
    if _RANK[there.name] > _RANK[here.name]:
        return f"up: {there.name} stands above {here.name}"
    if here.sees is not None and not any(there.name == seen or within(name, seen) for seen in here.sees):
        return f"{here.name} does without {there.name}"
    return None


def markdown() -> str:
    """The table of rooms for CONTRIBUTING.md, from the lowest to the highest."""
    lines = ["| room | holds | may import | of the heavy libraries |", "| --- | --- | --- | --- |"]
    for room in ROOMS:
        sees = "every room above" if room.sees is None else ", ".join(map(_seen, room.sees)) or "nothing of ours"
        libraries = "any" if room.libraries == HEAVY else ", ".join(room.libraries)
        members = ", ".join(f"`{member}`" for member in room.members)
        lines.append(f"| {room.name}: {members} | {room.holds} | {sees} | {libraries} |")
    return "\n".join([*lines, "", f"Heavy libraries: {', '.join(HEAVY)}.\n"])


def _seen(name: str) -> str:
    return f"`{name}`" if name in _MEMBERS else name
