"""Runs of models that think: their paragraphs are steps, an answer counts behind them alone, and they can be closed."""

from __future__ import annotations

from pathlib import Path

import pytest

from gsi_node import Models
from gsi_node.answer import last_boxed
from gsi_node.step.records import next_context
from gsi_node.types import Key, Prefix, SamplingLaw, Step
from tests.graph.thinkers import (
    BOTH,
    CLOSING,
    REWARD,
    SEEDS,
    config,
    forced,
    ids,
    model,
    parts,
    run,
    seed_of,
)


@BOTH
def test_paragraphs_of_thinking_are_steps_and_no_step_is_blank(root: Path, opened: str) -> None:
    """A step that opens with </think> runs through the first paragraph of the answer."""
    crossed = 0
    for seed in SEEDS:
        steps = run(parts(root, opened), seed=seed)["steps"]
        assert all(step["text"].strip() for step in steps)
        for step in steps[:-1]:
            assert step["text"].endswith("\n\n")
        for step in steps:
            head, mark, tail = step["text"].partition("</think>")
            crossed += bool(mark)
            assert not mark or (step["thought"] == len(head + mark) and tail.strip())
            assert not mark or head.strip() == ""
    assert crossed >= 3


@BOTH
def test_a_box_within_thinking_ends_nothing(root: Path, opened: str) -> None:
    boxed = 0
    for seed in SEEDS:
        result = run(parts(root, opened), seed=seed)
        steps = result["steps"]
        before, mark, after = result["response"].partition("</think>")
        boxed += "\\boxed" in before
        if not mark:
            assert result["answer"] is None and result["stop_reason"] != "answer"
            continue
        assert result["stop_reason"] in ("answer", "eos")
        assert result["answer"] == last_boxed(after)
        assert all("\\boxed" not in step["text"][step.get("thought", 0) :] for step in steps[:-1])
        assert result["messages"][-1].response_metadata["answer"] == result["answer"]
    assert boxed >= 3
    cut = run(parts(root, opened), max_tokens=30)
    assert "\\boxed" in cut["response"] and cut["answer"] is None and cut["stop_reason"] == "max_tokens"


def test_without_thinking_all_is_as_ever(root: Path) -> None:
    off = {role: model(root, "itself", "&enable_thinking=false") for role in ("draft", "base")}
    assert off["draft"].thinking is None
    result = run({**off, "reward": REWARD})
    assert result["stop_reason"] == "answer" and all("thought" not in step for step in result["steps"])


@BOTH
def test_thinking_is_closed_by_force(root: Path, opened: str) -> None:
    """The step in the making is cut at the bound; the record that closes has no number of its own."""
    result, given, place = forced(root, opened)
    thinking = model(root, opened).thinking
    assert thinking is not None
    assert given["text"] == CLOSING and tuple(given["token_ids"]) == thinking.closing and given["thought"] == 9
    measured = set(given) - {"text", "token_ids", "source", "thought"}
    assert measured and all(given[name] is None for name in measured)
    before = [tuple(step["token_ids"]) for step in result["steps"][:place]]
    assert thinking.after(before) == (True, 12)
    assert result["answer"] is not None and result["response"] == "".join(step["text"] for step in result["steps"])
    verdicts = [step["accepted"] for step in result["steps"] if step is not given]
    assert result["acceptance_rate"] == sum(verdicts) / len(verdicts)


def test_what_is_given_counts_as_tokens_and_as_a_place_but_as_no_step(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _, place = forced(root)
    assert len(whole["steps"]) == place + 2
    enough = forced(root, max_steps=place + 1)[0]
    assert enough["stop_reason"] == "answer" and ids(enough) == ids(whole)
    at_once = run(parts(root), seed=seed_of(root), max_thinking_tokens=12, max_steps=place)
    assert at_once["stop_reason"] == "max_steps" and ids(at_once) == ids(whole)[:place]  # over: nothing is given
    keys: list[int] = []
    own = parts(root)
    drawn = own["draft"].sample

    def sample(prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        keys.append(key.step)
        assert law.ends.after_text
        found: list[Step] = drawn(prefix, n, key, law)
        return found

    monkeypatch.setattr(own["draft"], "sample", sample)
    assert ids(run(own, seed=seed_of(root), max_thinking_tokens=12)) == ids(whole)
    assert keys == [*range(place), *range(place + 1, len(ids(whole)))]


def test_a_closing_that_leaves_no_token_for_an_answer_is_not_given(root: Path) -> None:
    """The run ends there, by max_tokens; one token more, and it goes on."""
    for room, more in ((12, 0), (14, 0), (15, 0), (16, 1)):
        result = run(parts(root, "prompt"), seed=seed_of(root, "prompt"), max_thinking_tokens=12, max_tokens=room)
        assert result["stop_reason"] == "max_tokens" and result["answer"] is None
        assert [step["source"] for step in result["steps"]].count("given") == more
        assert sum(map(len, ids(result))) == (16 if more else 12)


def test_the_law_of_a_step_behind_what_was_given(root: Path) -> None:
    """Conditioned on, not scored: the base scores what follows exactly as a prefix that has these tokens."""
    result, _, place = forced(root)
    own = parts(root)
    for at in (place, place + 1):
        context = next_context(Models(**own), config(max_thinking_tokens=12), Prefix("1+1"), "p", result["steps"][:at])
        steps = own["base"].sample(context.prefix, 4, Key(1, "p", at, "draft"), context.law)
        scores = own["base"].score(context.prefix, steps, context.law)
        assert [score.log_prob for score in scores] == pytest.approx([step.log_prob for step in steps], abs=1e-9)
