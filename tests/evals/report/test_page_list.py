"""The list of problems in a browser: what is chosen and searched, the marks, a step's numbers, what was left out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evals.report.writing import report
from gsi_node.types import Plain
from tests.evals.report.browser import Browser
from tests.evals.report.test_page import heading
from tests.evals.synthetic import campaign, failed, write

COUNT = 53  # more than the list shows at once
RIGHT = {(0, 1): False, (1, 0): False, (1, 1): False, (3, 1): False}  # by problem and seed; the others are right


def rows() -> Iterator[Plain]:
    """Of one method, two seeds: of the first problem one is right, of the next none, then an error, one ungraded."""
    for row in campaign(COUNT, ("gsi",), (2,), (0, 1)):
        at = (row["index"], row["seed"])
        right = RIGHT.get(at, True)
        row |= {"correct": right, "reason": None if right else "another answer"}
        if at == (2, 0):
            row = failed(row)
        if at == (3, 0):
            row |= {"correct": None, "ungraded": "it took too long"}
        yield row


def written(folder: Path, **how: Any) -> str:
    """The address of a page of these rows."""
    return (report(write(folder, list(rows())), plots=False, **how) / "report.html").as_uri()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(tmp_path_factory.mktemp("run"))


def texts(browser: Browser, selector: str) -> list[str]:
    found: list[str] = browser.run(
        f"[...document.querySelectorAll({json.dumps(selector)})].map((one) => one.textContent)"
    )
    return found


def ids(browser: Browser) -> list[str]:
    """The problems that the list shows."""
    return [text.partition(":")[0] for text in texts(browser, ".problem > p")]


def enter(browser: Browser, control: str, value: str) -> None:
    """Into the search field or the choice, as a person does."""
    kind = {"search": "input", "show": "change"}[control]
    field = f"document.getElementById('{control}')"
    browser.run(f"({field}.value = {json.dumps(value)}, {field}.dispatchEvent(new Event('{kind}')), 0)")


def press(browser: Browser, key: str, *, on: str = "body", held: str | None = None) -> None:
    """held: another key, by the name of its flag."""
    told = json.dumps({"key": key, "bubbles": True} | ({held: True} if held else {}))
    browser.run(f"document.querySelector('{on}').dispatchEvent(new KeyboardEvent('keydown', {told})) && 0")


def test_marks_come_by_seed_and_say_what_became_of_a_row(browser: Browser, address: str) -> None:
    browser.screen(1280)
    browser.open(address)
    found = [texts(browser, f".problem:nth-of-type({place}) .mark") for place in range(1, 6)]
    assert found == [["✓", "✗"], ["✗", "✗"], ["!", "✓"], ["?", "✗"], ["✓", "✓"]]
    told = browser.run("[...document.querySelectorAll('.problem .mark')].slice(4, 8).map((one) => one.title)")
    becomes = [(0, "error"), (1, "right"), (0, "ungraded"), (1, "wrong")]
    assert told == [f"gsi, n = 2, seed {seed}: {what}" for seed, what in becomes]
    colours = browser.run("[...document.querySelectorAll('.problem .mark')].slice(4, 8).map((one) => one.className)")
    assert colours == ["mark wrong", "mark right", "mark ", "mark wrong"]
    browser.open(f"{address}#pocket-2/gsi/2/0")
    assert "BackendUnavailable: the server is down" in texts(browser, "#detail .facts td")
    browser.open(f"{address}#pocket-3/gsi/2/0")
    assert "it took too long" in texts(browser, "#detail .facts td")
    browser.open(f"{address}#pocket-3/gsi/2/1")
    assert "another answer" in texts(browser, "#detail .facts td")


def test_the_list_grows_on_demand(browser: Browser, address: str) -> None:
    browser.screen(1280)
    browser.open(address)
    assert (len(ids(browser)), texts(browser, "#more"), texts(browser, "#count")) == (
        50,
        ["3 more"],
        ["53 of 53 problems"],
    )
    browser.run("document.getElementById('more').click()")
    assert ids(browser) == [f"pocket-{i}" for i in range(COUNT)] and texts(browser, "#more") == []


def test_the_list_shows_what_is_chosen(browser: Browser, address: str) -> None:
    browser.screen(1280)
    browser.open(address)
    kinds = {"differ": ["pocket-0"], "wrong": ["pocket-1"], "errors": ["pocket-2"]}
    for kind, wanted in kinds.items():
        enter(browser, "show", kind)
        assert (ids(browser), texts(browser, "#count")) == (wanted, ["1 of 53 problems"])
    enter(browser, "show", "all")
    assert len(ids(browser)) == 50


def test_the_list_shows_what_is_searched_and_the_ways_lead_along_it(browser: Browser, address: str) -> None:
    browser.screen(1280)
    browser.open(address)
    asked = {row["problem_id"]: (row["problem"], row["gold"]) for row in rows()}
    enter(browser, "search", f"  {asked['pocket-7'][0].upper()}")
    assert "pocket-7" in ids(browser) and len(ids(browser)) < 4
    gold = asked["pocket-7"][1]
    enter(browser, "search", gold)
    assert set(ids(browser)) == {id for id, parts in asked.items() if gold in f"{id} {' '.join(parts)}"}
    enter(browser, "search", "POCKET-5")
    assert ids(browser) == ["pocket-5", "pocket-50", "pocket-51", "pocket-52"]
    browser.run("document.querySelectorAll('.problem .mark')[1].click()")
    assert heading(browser) == "pocket-5 · gsi, n = 2 · seed 1"
    browser.run("document.querySelector('#detail .next').click()")
    assert heading(browser).startswith("pocket-50 ·")
    press(browser, "ArrowLeft")
    assert heading(browser).startswith("pocket-5 ·")
    assert texts(browser, "#detail nav a") == ["☰ all problems", "← previous", "next →"]
    led = "[...document.querySelectorAll('#detail .previous, #detail .next')].map((one) => one.hasAttribute('href'))"
    assert browser.run(led) == [False, True]
    browser.run("(location.hash = '#pocket-7/gsi/2/0', new Promise((done) => setTimeout(done, 50)))")
    assert heading(browser).startswith("pocket-7 ·") and browser.run(led) == [False, False]  # it is not in the list
    enter(browser, "search", "nothing has this")
    assert (ids(browser), texts(browser, "#count")) == ([], ["0 of 53 problems"])


def test_arrow_keys_that_are_typed_or_held_with_others_go_nowhere(browser: Browser, address: str) -> None:
    browser.screen(1280, 300)
    browser.open(f"{address}#pocket-5/gsi/2/0")
    for held in ("altKey", "ctrlKey", "metaKey", "shiftKey"):
        press(browser, "ArrowRight", held=held)
    press(browser, "ArrowRight", on="#search")
    press(browser, "Enter")
    assert heading(browser).startswith("pocket-5 ·")
    scrolled = "document.getElementById('detail').scrollTop"
    assert browser.run(f"({scrolled} = 50, {scrolled})") == 50
    press(browser, "ArrowRight")
    assert heading(browser).startswith("pocket-6 ·") and browser.run(scrolled) == 0


def test_a_step_has_its_numbers_what_was_refused_and_its_candidates(browser: Browser, address: str) -> None:
    """Of every source; numbers stand at the right."""
    browser.screen(1280)
    mixed = (row for row in rows() if {step["source"] for step in row["steps"]} == {"draft", "base"})
    row = next(row for row in mixed if row["index"] > 3)
    browser.open(f"{address}#{row['problem_id']}/gsi/2/{row['seed']}")

    def numbers(record: Plain) -> str:
        of = {name: round(value, 4) for name, value in record.items() if isinstance(value, float)}  # as the page has it
        told = [f"r {of['reward']:.3f}"]
        told += [f"ℓ {of['log_ratio']:.3f} nats", f"r̃ {of['tilted_reward']:.3f}"] if "log_ratio" in of else []
        return " · ".join([*told, f"ess {of['ess']:.2f} of 2", f"log w̄ {of['log_mean_weight']:.3f} nats"])

    kinds = {"draft": "✓ draft", "base": "↻ fallback to base"}
    labels = [f"{i}  {kinds[step['source']]}" for i, step in enumerate(row["steps"], 1)]
    assert texts(browser, "#detail .step > .badge") == labels
    assert texts(browser, "#detail .step > .numbers") == list(map(numbers, row["steps"]))
    fallen = [step["rejected"] for step in row["steps"] if step["source"] == "base"]
    assert texts(browser, "#detail .refused .badge") == ["✗ draft refused"] * len(fallen)
    assert texts(browser, "#detail .refused .numbers") == list(map(numbers, fallen))
    first = row["steps"][0].get("rejected", row["steps"][0])["candidates"]
    cells = [browser.run(f"[...document.querySelectorAll('#detail .step table')[0].rows[{i}].cells].map("
                         "(one) => [one.textContent, getComputedStyle(one).textAlign])") for i in range(3)]  # fmt: skip
    assert [cell for cell, _ in cells[0]] == ["", "r", "ℓ", "r̃", "text"]
    for line, one, arrow in zip(cells[1:], first, ("→", ""), strict=True):
        figures = [f"{round(one[name], 4):.3f}" for name in ("reward", "log_ratio", "tilted_reward")]
        assert [cell for cell, _ in line] == [arrow, *figures, one["text"].rstrip()]
    assert {align for line in cells for _, align in line[1:4]} == {"right"}
    facts = dict(zip(texts(browser, "#detail .facts th"), texts(browser, "#detail .facts td"), strict=True))
    assert facts["graded"] == "✓ right" and facts["gold"] == row["gold"] and facts["stopped by"] == "eos"
    assert facts["accepted"] == f"{100 * row['acceptance_rate']:.0f} % of steps"
    assert facts["seconds"] == f"{row['seconds']:.3f}"


def test_what_was_left_out_for_the_pages_size_is_said(browser: Browser, tmp_path: Path) -> None:
    browser.screen(1280)
    for limit, told in ((1, "Details of this row were left out"), (60_000, "The steps were left out")):
        browser.open(written(tmp_path, limit=limit) + "#pocket-52/gsi/2/1")
        assert heading(browser) == "pocket-52 · gsi, n = 2 · seed 1"
        (note,) = texts(browser, "#detail .note")
        assert note.startswith(told) and "results.jsonl has them" in note
        assert texts(browser, "#detail .badge") == []
