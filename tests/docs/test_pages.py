"""What stands between marks on a page is what the code gives."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from gsi_node.rewards.generative.formats import FORMATS
from gsi_node.rewards.prm.families import FAMILIES
from gsi_node.specs.kinds import MODELS, REWARDS
from gsi_node.step.methods import METHODS
from tests.docs.generated import PASSAGES, ROOT, written
from tests.docs.node_picture import PICTURE, drawn, node
from tests.docs.walks import reward_walk, row_walk


@pytest.mark.parametrize("page", sorted({page for page, _ in PASSAGES}))
def test_generated_passages_are_up_to_date(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    assert written(page, text) == text, f"`make readme` writes {page} anew"


def test_a_changed_passage_is_found() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    changed = text.replace("| core: ", "| kernel: ")
    assert changed != text and written("CONTRIBUTING.md", changed) == text
    with pytest.raises(KeyError, match="rooms"):
        written("CONTRIBUTING.md", text.replace("<!-- /rooms -->", ""))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_a_part_of_the_graph_on_the_page(method: str) -> None:
    """An edge that always leads on may be one of several in the whole graph; who judges nothing goes straight on."""
    whole, part = (
        {(edge.source, edge.target) for edge in graph.edges} for graph in (node(), node(method, allow_degraded=False))
    )
    rule = METHODS[method]
    judges = rule.uses_reward or rule.uses_score
    assert part - whole == (set() if judges else {("draft", "tilt_and_accept")})
    assert len(part) > 8


def test_the_picture_of_the_node_is_that_of_what_is_compiled() -> None:
    """Every node and edge once; an edge that is new is drawn without a change."""
    graph, picture = node(), PICTURE.read_text("utf-8")
    assert drawn(graph) == picture, "`make readme` draws it anew"
    told = re.findall(r"<title>(\w+) → (\w+)</title>", picture)
    assert Counter(told) == Counter((edge.source, edge.target) for edge in graph.edges)
    assert re.findall(r">(\w+)</text>", picture) == list(graph.nodes)
    dashed = re.findall(r'class="may"><title>(\w+) → (\w+)<', picture)
    assert Counter(dashed) == Counter((edge.source, edge.target) for edge in graph.edges if edge.conditional)
    whole = drawn(node("draft", allow_degraded=False))
    assert "<title>draft → tilt_and_accept</title>" in whole and '"M260 195L260 365"' in whole
    assert "(figures/node.svg)" in (ROOT / "docs" / "architecture.md").read_text("utf-8")


def test_no_edge_of_the_picture_runs_through_another_node() -> None:
    picture = PICTURE.read_text("utf-8")
    box = r'<rect class="node" x="(.+?)" y="(.+?)" width="(.+?)" height="(.+?)" rx="5"/><text.*?>(\w+)</text>'
    boxes = {name: tuple(map(float, sides)) for *sides, name in re.findall(box, picture)}
    paths = re.findall(r'<path d="(.+?)".*?<title>(\w+) → (\w+)</title>', picture)
    assert len(boxes) == 10 and len(paths) > 20
    for path, *own in paths:
        corners = [float(number) for number in re.findall(r"-?[\d.]+", path)]
        points = list(zip(corners[::2], corners[1::2], strict=True))
        for x, y in (bezier(points, i / 64) for i in range(65)):
            inside = {name for name, (left, top, w, h) in boxes.items() if 0 < x - left < w and 0 < y - top < h}
            assert inside <= set(own), (path, inside)


def bezier(points: list[tuple[float, float]], t: float) -> tuple[float, float]:
    """A point of the curve, by de Casteljau."""
    while len(points) > 1:
        points = [((1 - t) * a + t * c, (1 - t) * b + t * d) for (a, b), (c, d) in itertools.pairwise(points)]
    return points[0]


def test_the_reward_is_followed_from_its_call_to_the_commit() -> None:
    names = re.findall(r"`(.+?)`", reward_walk())
    assert (names[0], names[-1]) == ("TableReward.__call__", "GSINodes._commit")
    assert {"tilt", "Judging.verdict", "accept"} < set(names)


def test_the_table_of_plugs_has_the_versions_that_are_pinned() -> None:
    files = [ROOT / name for name in ("constraints.txt", "locks/studio.txt", "locks/plugs.txt")]
    locks = "\n".join(file.read_text("utf-8") for file in files)
    pinned = dict(re.findall(r"^([\w-]+)(?:\[\w+\])?==(\S+)", locks, re.MULTILINE))
    (table,) = re.findall(r"^## Plugs\n(.*?)^### ", (ROOT / "docs" / "results.md").read_text("utf-8"), re.DOTALL | re.M)
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \| (\d[\w.]+) \|", table, re.MULTILINE)
    named = [
        (re.split(r"[, (']", client.replace("`create_agent`", "langchain"))[0], version) for client, version in rows
    ]
    assert len(named) >= 14 and [(name, pinned[name]) for name, _ in named] == named


def test_the_row_is_followed_from_its_making_to_a_plotted_point() -> None:
    names = re.findall(r"`(.+?)`", row_walk())
    assert (names[0], names[-1]) == ("solved_row", "errorbars")
    order = [names.index(name) for name in ("Appender.append", "row_of", "tally", "wilson", "over_n")]
    assert order == sorted(order)


@pytest.mark.parametrize(
    ("page", "names", "row"),
    [
        ("models.md", MODELS, r"`[^|]*\b{}:"),
        ("models.md", REWARDS, r"`[^|]*\b{}[:?`]"),
        ("rewards.md", REWARDS, r"`{}[:?`]"),
        ("rewards.md", FAMILIES, r"`{}` \|"),
        ("rewards.md", FORMATS, r"`{}` \|"),
    ],
)
def test_every_kind_family_and_format_has_its_row(page: str, names: Iterable[str], row: str) -> None:
    """In tables that are written by hand, for what each is must be told."""
    text = re.sub(r"<!-- specs -->.*<!-- /specs -->", "", (ROOT / "docs" / page).read_text("utf-8"), flags=re.DOTALL)
    assert [name for name in names if not re.search(rf"^\| {row.format(name)}", text, re.MULTILINE)] == []


PAGES = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("gsi_node/**/*.md")})
FORMER = {"gsi_node.serve", "gsi_node.models.acme", "gsi_node/models/acme.py", "evals/data/layouts/acme.py"} | {
    "evals/report/plots/steps.py"
}
"""Named as what is no more, or as what a skeleton adds."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_modules_names_and_files_of_a_page_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    dotted = set(re.findall(r"(?<![\w/.-])(?:gsi_node|evals|graphs|tests)(?:\.[A-Za-z_]\w*)+\b(?!/|\*)", text)) - FORMER
    assert [name for name in sorted(dotted) if not name.endswith((".md", ".py")) and not stands(name)] == []
    paths = re.findall(r"(?<![\w/.-])((?:gsi_node|evals|graphs|tests|docs|examples|locks)/[\w./-]*\w)(?!\*|\w)", text)
    assert [path for path in sorted({*paths} - FORMER) if not (ROOT / path).exists()] == []


def stands(name: str) -> bool:
    """Whether a dotted name is a module, or its next part is a word of the module that it begins with."""
    parts = name.split(".")
    for depth in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:depth])
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        if file.is_file():
            word = r'"{}"' if depth == 1 else r"\b{}\b"  # the front door has its names in quotes
            return depth == len(parts) or re.search(word.format(parts[depth]), file.read_text("utf-8")) is not None
    return False


def test_a_name_that_is_no_more_is_found() -> None:
    assert stands("gsi_node.step.rules.Rule.needs") and stands("evals.data") and not stands("gsi_node.methods.METHODS")
