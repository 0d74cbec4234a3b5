"""Passages of the pages that follow from the code. `make readme` (`python -m tests.docs.generated`) writes them anew.

Each stands between `<!-- NAME -->` and `<!-- /NAME -->`, on lines of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gsi_node import GSIConfig
from gsi_node.specs.kinds import MODELS, REWARDS
from gsi_node.step.fields import about
from gsi_node.step.methods import HEADINGS, METHODS
from tests.docs import node_picture
from tests.docs.memory import memory
from tests.docs.walks import reward_walk, row_walk
from tests.house.rooms import ROOMS
from tests.house.walls import markdown

ROOT = Path(__file__).resolve().parents[2]


def rooms() -> str:
    """One line a room, from the lowest to the highest."""
    names = [", ".join(member.rpartition("gsi_node.")[2] for member in room.members) for room in ROOMS]
    width = max(map(len, names))
    lines = (f"{name.ljust(width)}  {room.holds}" for name, room in zip(names, ROOMS, strict=True))
    return "```\n" + "\n".join(lines) + "\n```\n"


def methods() -> str:
    """The table of methods, with where each was published."""
    lines = [f"| {' | '.join((*HEADINGS, 'from'))} |", "| --- " * (len(HEADINGS) + 1) + "|"]
    for method in METHODS.values():
        name, *cells = method.cells()
        lines.append(f"| {' | '.join((f'`{name}`', *cells, method.source or '–'))} |")
    return "\n".join(lines) + "\n"


def settings() -> str:
    """The table of settings, as each field says of itself."""
    lines = ["| setting | default | what it is | a run may override it |", "| --- | --- | --- | --- |"]
    for name, field in GSIConfig.model_fields.items():
        default, told = repr(field.default), about(name)
        lines.append(f"| `{name}` | `{default}` | {told.help} | {'yes' if told.override else 'no'} |")
    return "\n".join(lines) + "\n"


def specs() -> str:
    """The kinds of specs of models and rewards, with their options."""
    lines = ["| kind | example | options |", "| --- | --- | --- |"]
    for what, kinds in (("model", MODELS), ("reward", REWARDS)):
        for name, kind in kinds.items():
            options = [f"`{option}`" for option in kind.options] + ["arguments of the chat template"] * kind.templated
            example = kind.example.replace("|", "\\|")
            lines.append(f"| {what} `{name}` | `{example}` | {', '.join(options) or '–'} |")
    return "\n".join(lines) + "\n"


PASSAGES: dict[tuple[str, str], Callable[[], str]] = {
    ("CONTRIBUTING.md", "rooms"): markdown,
    ("README.md", "memory"): memory,
    ("docs/methods.md", "methods"): methods,
    ("docs/models.md", "specs"): specs,
    ("docs/math.md", "methods"): methods,
    ("docs/reference/settings.md", "settings"): settings,
    ("docs/architecture.md", "rooms"): rooms,
    ("docs/architecture.md", "reward's way"): reward_walk,
    ("docs/architecture.md", "row's way"): row_walk,
}


def written(page: str, text: str) -> str:
    """A page's text with its passages made anew. KeyError for a page whose marks are missing."""
    for (where, name), make in PASSAGES.items():
        if where == page:
            begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->\n"
            before, opened, rest = text.partition(begin)
            _, closed, after = rest.partition(end)
            if not (opened and closed):
                raise KeyError(f"{page} has no {begin.strip()} … {end.strip()}")
            text = before + begin + make() + end + after
    return text


def main() -> None:
    """Writes every page, and the picture of the node."""
    node_picture.PICTURE.write_text(node_picture.drawn(node_picture.node()), "utf-8")
    for page in dict.fromkeys(page for page, _ in PASSAGES):
        path = ROOT / page
        path.write_text(written(page, path.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
