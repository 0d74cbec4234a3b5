"""Tables of the report: numbers at the right, models and settings above them; and the library that the page carries."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

from markdown_it import MarkdownIt

from evals.report import command as report
from evals.report.page import ASSETS
from evals.report.text_table import TextTable
from gsi_node.host.shell import Parser
from tests.evals.synthetic import campaign, write


def test_numbers_stand_at_the_right_and_words_at_the_left() -> None:
    table = TextTable(
        "A title",
        ("method", "n", "share", "p", "all unknown", "errors"),
        [("gsi", "1", "0.812 [0.774, 0.846]", "< 0.0001", "–", "0"), ("base", "16", "–", "−3.1", "–", "Died 2")],
    )
    assert table.numeric() == [False, True, True, True, True, False]
    lines = table.markdown().splitlines()
    assert lines[1].split(" | ")[1:3] == ["-:", "-------------------:"]
    assert lines[2].startswith("| gsi    |  1 | 0.812 [") and lines[3].startswith("| base   | 16 |      ")
    styles = [
        token.attrs.get("style")
        for token in MarkdownIt("commonmark").enable("table").parse(table.markdown())
        if token.type == "td_open"
    ]
    assert styles == [None, *["text-align:right"] * 4, None] * 2
    page = table.html()
    assert '<th scope="col" class="n">share</th>' in page and '<th scope="col">errors</th>' in page
    assert '<td class="n">16</td>' in page and "<td>Died 2</td>" in page


def test_a_table_without_rows_or_of_one_digit_is_one() -> None:
    assert TextTable("", ("a", "b"), []).markdown() == "| a | b |\n| - | - |\n"
    narrow = TextTable("", ("n",), [("4",)]).markdown()
    assert MarkdownIt("commonmark").enable("table").parse(narrow)[0].type == "table_open"


def test_models_and_settings_stand_above_the_numbers(tmp_path: Path) -> None:
    config = {"config": {"beta": 5.0, "top_p": 0.9}, "limit": 30, "methods": ["gsi", "base"]}
    folder = write(tmp_path, list(campaign(3, ("gsi", "base"), (1, 4), (0,))), config)
    parser = Parser(prog="report")
    report.add_arguments(parser)
    assert report.main(parser.parse_args([str(folder), "--no-plots"])) == 0
    for name in ("report.md", "report.html"):
        text = (folder / "report" / name).read_text("utf-8")
        for told in (
            "pocket:draft",
            "pocket:base",
            "30 (--limit 30) of pocket, test, data seed 0",
            "gsi, base; n = 1, 4; seeds 0, 1",
            "beta 5.0, threshold 0.5, temperature 0.7, top_p 0.9",
            "gsi_node 0.1.0, commit unknown, 2026-11-30T09:00:00+00:00, on a machine",
        ):
            assert 0 < text.index(told) < text.index("accuracy"), (name, told)


def test_the_library_that_the_page_carries_is_the_published_one_with_its_licence() -> None:
    """KaTeX 0.19.1, dist/katex.min.js of its npm package; a newer one is put here with its digest, and looked at."""
    folder = ASSETS / "katex"
    script = (folder / "katex.min.js").read_bytes()
    assert sha256(script).hexdigest() == "fa140498b8cfc8302cbe5e7cb1bdbc1f952bc38b3fa258ede09e73edbf9a74bc"
    assert re.search(rb'version:?"0\.19\.1"|"0\.19\.1"', script)
    assert b"</script" not in script.lower() and b"<!--" not in script
    licence = (folder / "LICENSE").read_text("utf-8")
    assert "The MIT License" in licence and "Khan Academy" in licence
