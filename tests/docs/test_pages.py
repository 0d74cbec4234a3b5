"""What stands between marks on a page is what the code gives."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gsi_node.step.methods import METHODS
from tests.docs.generated import PASSAGES, ROOT, node, written
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
        {line.replace("-.->", "-->") for line in graph.splitlines()}
        for graph in (node(), node(method, allow_degraded=False))
    )
    rule = METHODS[method]
    judges = rule.uses_reward or rule.uses_score
    assert part - whole == (set() if judges else {"    draft --> tilt_and_accept;"})
    assert len(part) > 8


def test_the_reward_is_followed_from_its_call_to_the_commit() -> None:
    names = re.findall(r"`(.+?)`", reward_walk())
    assert (names[0], names[-1]) == ("TableReward.__call__", "GSINodes._commit")
    assert {"tilt", "Judging.verdict", "accept"} < set(names)


def test_the_row_is_followed_from_its_making_to_a_plotted_point() -> None:
    names = re.findall(r"`(.+?)`", row_walk())
    assert (names[0], names[-1]) == ("solved_row", "errorbars")
    order = [names.index(name) for name in ("Appender.append", "row_of", "tally", "wilson", "over_n")]
    assert order == sorted(order)


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
