"""What stands between marks on a page is what the code gives."""

from __future__ import annotations

import re

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
    judges = rule.uses_reward or rule.uses_ratio
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
