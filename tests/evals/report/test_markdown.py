"""Quoted text renders as itself: no markup, no HTML, no link, whatever it holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from evals.report.markdown import printable, quoted
from evals.report.text_table import TextTable

RENDERER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
ACTIVE = st.text(st.sampled_from("ab1 \\`*_~|<>&#;![]():/.=+-\n\x1b\u2028wx\ud800"), max_size=20)
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    "[text](javascript:alert(1))",
    "![image](http://a.example/x.png)",
    "[a]: http://a.example",
    "`code` **bold** _emphasis_ ~~struck~~",
    "a | b\n| c",
    "&lt;b&gt; &#60;",
    "# heading #",
    "1. list",
    "> quote",
    "\\*escaped\\*",
    "\x1b[31mred\x07",
    "line\nbreak\u2028and paragraph\u2029",
    "*",
    " * a",
    "---",
    "    code",
    "\t1. x",
]


def inline(source: str, kind: str) -> list[Token]:
    """The inline tokens of the first block of a kind."""
    tokens = RENDERER.parse(source)
    place = next(i for i, token in enumerate(tokens) if token.type == kind)
    return tokens[place + 1].children or []


def said(tokens: list[Token]) -> str:
    assert {token.type for token in tokens} <= {"text", "text_special"}, [token.type for token in tokens]
    return "".join(token.content for token in tokens)


def check(text: str) -> None:
    quoted_text, shown = quoted(text), printable(text)
    assert "\n" not in quoted_text
    if not shown.strip():
        return
    assert said(inline(f"# x {quoted_text} x", "heading_open")) == f"x {shown} x"
    assert said(inline(f"> {quoted_text}\n", "paragraph_open")).split() == shown.split()
    drawn = TextTable("", ["head", text], [["a", "b"]]).markdown()
    cells = [token for token in RENDERER.parse(drawn) if token.type == "inline"]
    assert len(cells) == 4
    assert said(cells[1].children or []).split() == shown.split()


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_renders_as_itself(text: str) -> None:
    check(text)


@given(ACTIVE | st.text(max_size=20))
def test_any_text_renders_as_itself(text: str) -> None:
    check(text)


PLAIN = ["minerva_math", "0.812 [0.774, 0.846]", "< 0.0001", "sbon-base", "+1.5 [-0.2, +3.1]", "a: 3 * 2", "0.50"]


@pytest.mark.parametrize("text", PLAIN)
def test_plain_names_and_numbers_stay_as_they_are(text: str) -> None:
    assert quoted(text) == text


@pytest.mark.parametrize("mark", ["*", "-", "+", "1.", "#"])
def test_a_mark_that_stands_alone_in_a_cell_is_written_as_it_is(mark: str) -> None:
    table = TextTable("", ["", "b"], [[mark, "c"]]).markdown()
    assert table.splitlines()[2].startswith(f"| {mark} ")
    cells = [token.content for token in RENDERER.parse(table) if token.type == "inline"]
    assert cells == ["", "b", mark, "c"]
