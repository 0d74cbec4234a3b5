"""The line that a terminal shows while a step is being decided."""

from __future__ import annotations

import re
import time

import pytest

from gsi_node.cli.waiting import PROPOSERS, Waiting
from gsi_node.step.methods import METHODS
from gsi_node.types import Plain
from tests.graphs.tables import command, models

OPTIONS = ["--n", "3", "--beta", "4", "--threshold", "0.6"]
Capture = pytest.CaptureFixture[str]
LINE = re.compile(r"\d+ s · (?:([\d,]+) tokens · )?([^\x1b\r\n]+)")


def begins(name: str, id: str) -> Plain:
    return {"id": id, "name": name, "input": {}, "triggers": []}


def ends(name: str, id: str, **usage: tuple[int, int]) -> Plain:
    keys = ("generated_tokens", "scored_tokens")
    bills = {role: dict(zip(keys, tokens, strict=True)) for role, tokens in usage.items()}
    return {"id": id, "name": name, "error": None, "result": {"usage": bills}, "interrupts": []}


def test_it_says_for_what_and_how_long_and_how_many_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    waiting = Waiting("deciding a step …")
    waiting.hear(begins("solve", "0"))
    assert waiting.line() == "0 s · deciding a step …"
    waiting.hear(begins("draft", "a"))
    waiting.hear(begins("draft", "b"))
    now = 112.9
    assert waiting.line() == "12 s · waiting for draft × 2"
    waiting.hear(ends("draft", "a", draft=(1200, 0)))
    waiting.hear(begins("reward", "c"))
    waiting.hear(begins("score_base", "d"))
    assert waiting.line() == "12 s · 1,200 tokens · waiting for draft and reward and scoring"
    waiting.hear(ends("score_base", "d", base=(0, 34)))
    waiting.hear(ends("draft", "b", draft=(1000, 0)))
    waiting.hear(ends("reward", "c"))
    waiting.hear(begins("fallback", "e"))
    now = 225.0
    assert waiting.line() == "2 min 5 s · 2,234 tokens · waiting for fallback"
    waiting.hear(ends("fallback", "e", base=(7, 0), reward=(0, 1)))
    assert waiting.line() == "2 min 5 s · 2,242 tokens · deciding a step …"


@pytest.mark.parametrize(("method", "told"), [("gsi", "draft"), ("sbon-base", "base"), ("specdec", "draft and base")])
def test_who_proposes_is_named(method: str, told: str) -> None:
    assert {row.propose for row in METHODS.values()} == set(PROPOSERS)
    waiting = Waiting("deciding a step …", METHODS[method].propose)
    waiting.hear(begins("draft", "a"))
    assert waiting.line() == f"0 s · waiting for {told}"


def test_a_terminal_shows_it_and_ends_with_all_tokens_counted(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    told: list[str] = []
    own = Waiting.hear

    def hear(self: Waiting, task: Plain) -> None:
        own(self, task)
        told.append(self.line())

    monkeypatch.setattr(Waiting, "hear", hear)
    monkeypatch.setenv("FORCE_COLOR", "1")  # standard output counts as a terminal
    assert command([*OPTIONS, "--samples", "2", "two"], models(0.3)) == 0
    page = capsys.readouterr().out
    assert {what for _, what in LINE.findall(page)} >= {"waiting for draft × 2"}
    found = [LINE.search(line) for line in told]
    waited = {match[2] for match in found if match is not None}
    assert any("fallback" in what for what in waited) and any("reward and scoring" in what for what in waited)
    rows = [
        re.findall(r"[\d,]+|–", line)[:2] for line in re.findall(r"^ ?(?:draft|base|reward) .*$", page, re.MULTILINE)
    ]
    assert len(rows) == 3
    total = sum(int(cell.replace(",", "")) for row in rows for cell in row if cell != "–")
    last = found[-1]
    assert last is not None and int((last[1] or "0").replace(",", "")) == total > 0


@pytest.mark.parametrize("argv", [[], ["--json"]])
def test_a_pipe_gets_none_of_it(argv: list[str], capsys: Capture) -> None:
    assert command([*OPTIONS, *argv, "two"], models(0.2)) == 0
    out, err = capsys.readouterr()
    assert "waiting" not in out + err and "\x1b" not in out + err and "\r" not in out + err
