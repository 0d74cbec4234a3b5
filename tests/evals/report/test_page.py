"""The page in a browser, where there is one: matrix, addresses, formulas, the phone, the dark."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from evals.report.writing import report
from gsi_node.types import Plain
from tests.evals.report.browser import Browser
from tests.evals.synthetic import campaign, write

FORMULAS = (
    r"Let $x^2 + \frac{1}{2}$ be; a ticket is $5 and two are $10, three $15-$20. \[ \sum_{k=1}^n k \] and \(\alpha\)."
    "\n"
    r"\begin{align*} a &= b \\ &= c \end{align*} So \boxed{\frac{1}{2}}."
)
HOSTILE = (
    r"$\frac{1$ $\href{javascript:document.title='x'}{x}$ <img src=x onerror=document.title='x'> " + "$" + "{" * 900
)
METHODS, NS, SEEDS = ("gsi", "rsd-n", "base"), (1, 4), (0, 1)
ODD = "a/b c?#%\ud800"


def rows() -> Iterator[Plain]:
    """Four problems; the last has an odd name, and lacks rows."""
    for row in campaign(4, METHODS, NS, SEEDS):
        if row["method"] == "base" and row["n"] != 1:
            continue
        if row["index"] == 3:
            if row["method"] == "base":
                continue
            row |= {"problem_id": ODD, "problem": HOSTILE, "predicted": HOSTILE, "response": HOSTILE}
            row["steps"][0]["text"] = HOSTILE
        if row["index"] == 0:
            row |= {"problem": FORMULAS, "gold": r"\frac{1}{2}"}
            by_hand = {**row["steps"][0], "source": "human", "accepted": False, "text": "mine"}
            passed = {**row["steps"][0], "source": "draft", "accepted": False, "accepted_by": "human", "rejected": None}
            row["steps"] = [by_hand, passed, *row["steps"]]
        yield row


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = write(tmp_path_factory.mktemp("run"), list(rows()))
    return (report(folder, plots=True) / "report.html").as_uri()


def heading(browser: Browser) -> str:
    return str(browser.run("document.querySelector('#detail h3').textContent"))


def seen(browser: Browser, selector: str) -> bool:
    """Whether an element is drawn."""
    return bool(browser.run(f"document.querySelector({json.dumps(selector)}).getClientRects().length > 0"))


def test_a_problem_is_a_matrix_of_methods_and_n_with_a_mark_a_seed(browser: Browser, address: str) -> None:
    browser.screen(1280)
    browser.open(address)
    cells = browser.run(
        "[...document.querySelector('.problem .matrix').rows].map((row) => [...row.cells].map((cell) => "
        "cell.tagName === 'TH' ? cell.textContent : cell.querySelectorAll('a.mark').length))"
    )
    assert cells == [["n", "1", "4"], ["gsi", 2, 2], ["rsd-n", 2, 2], ["base", 2, 0]]
    marks = browser.run("[...document.querySelectorAll('#list .mark')].map((mark) => [mark.textContent, mark.title])")
    assert len(marks) == 3 * 10 + 8
    assert all(mark == {"right": "✓", "wrong": "✗"}[title.rpartition(": ")[2]] for mark, title in marks)
    assert browser.run("document.querySelectorAll('#detail .mark[aria-current]').length") == 1


def test_an_address_opens_its_response_and_previous_and_next_keep_to_it(browser: Browser, address: str) -> None:
    browser.screen(1280)
    browser.open(f"{address}#pocket-1/rsd-n/4/1")
    assert heading(browser) == "pocket-1 · rsd-n, n = 4 · seed 1"
    assert browser.run("document.querySelector('#detail').getBoundingClientRect().top < innerHeight")
    browser.run("document.querySelector('#detail .next').click()")
    assert browser.run("location.hash") == "#pocket-2/rsd-n/4/1"
    browser.run("document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true})) && 0")
    assert heading(browser).endswith("· rsd-n, n = 4 · seed 1") and heading(browser).startswith("a/b c?#%")
    there = browser.run("location.href")
    assert not browser.run("document.querySelector('#detail .next').hasAttribute('href')")
    browser.open(there)
    assert heading(browser).startswith("a/b c?#%")
    browser.run("document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowLeft', bubbles: true})) && 0")
    assert heading(browser).startswith("pocket-2")
    browser.open(f"{address}#pocket-2/base/1/0")
    assert not browser.run("document.querySelector('#detail .next').hasAttribute('href')")  # the last has no such row
    browser.open(f"{address}#pocket-9/gsi/1/0")
    assert "This page has no response #pocket-9/gsi/1/0" in browser.run("document.querySelector('#detail').textContent")


def test_formulas_are_drawn_and_money_is_not(browser: Browser, address: str) -> None:
    browser.screen(1280)
    browser.console.clear()
    browser.open(f"{address}#pocket-0/gsi/4/0")
    told = browser.run("[...document.querySelectorAll('#detail > .text .formula')].map((one) => one.title)")
    assert told == [
        r"$x^2 + \frac{1}{2}$",
        r"\[ \sum_{k=1}^n k \]",
        r"\(\alpha\)",
        r"\begin{align*} a &= b \\ &= c \end{align*}",
        r"\boxed{\frac{1}{2}}",
    ]
    assert browser.run("document.querySelectorAll('#detail > .text math').length") == 5
    assert "a ticket is $5 and two are $10, three $15-$20." in browser.run(
        "document.querySelector('#detail > .text').textContent"
    )
    assert browser.run("document.querySelectorAll('#detail .facts mfrac').length") >= 1  # the gold answer
    parts = "[...document.querySelector('#detail mfrac').children]"
    tops = browser.run(f"{parts}.map((one) => one.getBoundingClientRect().top)")
    assert tops[1] > tops[0] + 4  # one number below the other
    labels = browser.run("[...document.querySelectorAll('#detail .step.human > .badge')].map((one) => one.textContent)")
    assert labels == ["1  ✎ written by a person", "2  ✎ draft, accepted by a person"]
    assert browser.console == []


def test_what_a_model_wrote_does_nothing_and_is_shown(browser: Browser, address: str) -> None:
    browser.screen(1280)
    browser.console.clear()
    browser.open(f"{address}#a%2Fb%20c%3F%23%25%EF%BF%BD/gsi/4/0")
    assert heading(browser).startswith("a/b c?#%")
    text = browser.run("document.querySelector('#detail > .text').textContent")
    assert r"$\frac{1$" in text and "<img src=x onerror=" in text and "{" * 900 in text
    listed = browser.run("[...document.querySelectorAll('.problem > p')].at(-1).textContent")
    assert listed.endswith("…") and len(listed) < 400  # in the list a problem is short
    assert browser.run("document.querySelectorAll('#detail img, #detail [href^=javascript]').length") == 0
    assert browser.run("document.title") != "x"
    assert browser.console == []


def test_on_a_phone_a_tap_leads_to_the_response_and_back(browser: Browser, address: str) -> None:
    browser.screen(400, 800, touch=True)
    browser.open(address)
    assert seen(browser, "#list") and not seen(browser, "#detail")
    browser.run("document.querySelectorAll('.problem')[2].scrollIntoView()")
    place = browser.run("scrollY")
    spot = browser.run(
        "(({left, top, width, height}) => [left + width / 2, top + height / 2, width, height])"
        "(document.querySelectorAll('.problem')[2].querySelector('.mark').getBoundingClientRect())"
    )
    assert min(spot[2:]) >= 30  # for a finger
    for kind, points in (("touchStart", [{"x": spot[0], "y": spot[1]}]), ("touchEnd", [])):
        browser.ask("Input.dispatchTouchEvent", type=kind, touchPoints=points)
    assert browser.run("new Promise((done) => setTimeout(() => done(location.hash), 400))") == "#pocket-2/gsi/1/0"
    assert not seen(browser, "#list") and not seen(browser, "#controls")
    assert -1 < browser.run("document.querySelector('#detail').getBoundingClientRect().top") < 60
    browser.run("document.querySelector('#detail .back').click()")
    assert browser.run("new Promise((done) => setTimeout(() => done(location.hash), 400))") == "#problems"
    assert seen(browser, "#list") and not seen(browser, "#detail")
    assert abs(browser.run("scrollY") - place) < 2


CONTRAST = """(() => {
  const linear = (c) => (c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4);
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map((part) => linear(part / 255));
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const ground = light(getComputedStyle(document.body).backgroundColor);
  return [ground, ...["body", ".dim", ".right", ".wrong", "a", ".note"].map((name) => {
    const own = light(getComputedStyle(document.querySelector(name)).color);
    return (Math.max(own, ground) + .05) / (Math.min(own, ground) + .05);
  })];
})()"""


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_fits_and_is_legible_in_the_light_and_in_the_dark(
    browser: Browser, address: str, width: int, dark: bool
) -> None:
    browser.screen(width, dark=dark)
    for fragment in ("", "#pocket-0/gsi/4/0", "#a%2Fb%20c%3F%23%25%EF%BF%BD/gsi/4/0"):
        browser.open(address + fragment)
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    browser.open(address)
    ground, *contrasts = browser.run(CONTRAST)
    assert (ground < 0.05) == dark
    assert min(contrasts) >= 4.5  # WCAG's least for text
    assert ("invert" in browser.run("getComputedStyle(document.querySelector('figure img')).filter")) == dark
    numbers = browser.run(
        "[...document.querySelectorAll('main > .scroll td.n')].map((one) => getComputedStyle(one).textAlign)"
    )
    assert numbers and set(numbers) == {"right"}
