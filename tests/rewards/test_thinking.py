"""What each reward reads of a response that thinks first: the rows of the table in docs/rewards.md."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gsi_node import callable_reward
from gsi_node.protocols import Reward
from gsi_node.rewards.judge import JudgeReward
from gsi_node.rewards.prm.families import FAMILIES
from gsi_node.rewards.prm.in_process import TransformersPRM
from gsi_node.rewards.verifier.reward import VerifierReward
from gsi_node.rewards.wrappers.cached import CachedReward
from gsi_node.types import Prefix, Step
from tests.rewards.family_models import build_family
from tests.rewards.test_families import PROBLEM

OPEN, CLOSE = "<think>\n", "\n</think>"


def step(thinking: str, answer: str, *, finished: bool = False) -> Step:
    return Step(thinking + answer, (1,), 0.0, finished, thought=len(thinking))


FIRST = step(OPEN + "2+2=5.\n\n", "")
INSIDE = (step("Is it 4.\n\n", ""), step("So 2+2=4.\n\n", ""))
CROSSING = step("It is." + CLOSE, "\n\n2+2=4.\n\n")
BEHIND = step("", "So it is\n4.\n\n")
THINKING = Prefix(PROBLEM, (FIRST,))
ANSWERING = Prefix(PROBLEM, (FIRST, CROSSING))
FORCED = Prefix(PROBLEM, (FIRST, step("\n</think>", "\n\n"), step("", "2+2=4.\n\n")))


def untold(prefix: Prefix, candidate: Step) -> tuple[Prefix, Step]:
    """The same texts, of which nobody says that some are thinking."""
    return replace(prefix, steps=tuple(replace(s, thought=0) for s in prefix.steps)), replace(candidate, thought=0)


def one(reward: Reward, prefix: Prefix, candidate: Step) -> float:
    return reward(prefix, [candidate])[0]


@pytest.mark.parametrize("family", [name for name, family in FAMILIES.items() if not family.traces])
def test_a_process_reward_model_reads_the_answer_by_itself_and_the_trace_before(family: str, tmp_path: Path) -> None:
    reward = TransformersPRM.from_pretrained(build_family(tmp_path, family), dtype="float64")
    lone, said = Prefix(PROBLEM), step("", "2+2=4.\n\n")
    for candidate in INSIDE:  # the trace, as if it were a solution
        assert one(reward, THINKING, candidate) == one(reward, *untold(THINKING, candidate))
    assert len({one(reward, THINKING, candidate) for candidate in INSIDE}) == 2  # no constant
    assert one(reward, THINKING, CROSSING) == one(reward, lone, said)
    assert one(reward, ANSWERING, BEHIND) == one(reward, Prefix(PROBLEM, (said,)), BEHIND)
    assert one(reward, FORCED, BEHIND) == one(reward, Prefix(PROBLEM, (said,)), BEHIND)
    assert one(reward, ANSWERING, BEHIND) != one(reward, *untold(ANSWERING, BEHIND))
    batch = [INSIDE[0], CROSSING, INSIDE[1], step(CLOSE, "\n\nSo 4.\n\n"), step("", "", finished=True)]
    singles = [one(reward, THINKING, candidate) for candidate in batch]
    assert reward(THINKING, batch) == pytest.approx(singles, abs=1e-12)


@pytest.mark.parametrize("family", [name for name, family in FAMILIES.items() if family.traces])
def test_one_that_knows_traces_reads_the_answer_behind_them(family: str, tmp_path: Path) -> None:
    reward = TransformersPRM.from_pretrained(build_family(tmp_path, family), dtype="float64")
    for where, candidate in ((THINKING, INSIDE[0]), (THINKING, CROSSING), (ANSWERING, BEHIND), (FORCED, BEHIND)):
        assert one(reward, where, candidate) == one(reward, *untold(where, candidate))
    assert one(reward, ANSWERING, BEHIND) != one(reward, Prefix(PROBLEM, (step("", "2+2=4.\n\n"),)), BEHIND)


def test_a_judge_and_a_function_read_the_trace() -> None:
    prompts: list[str] = []

    def judge(prompt: str) -> str:
        prompts.append(prompt)
        return "7"

    told: list[list[str]] = []

    def texts(problem: str, steps: list[str]) -> float:
        told.append(steps)
        return 0.5

    for prefix, candidate in ((THINKING, INSIDE[0]), (THINKING, CROSSING), (ANSWERING, BEHIND)):
        one(JudgeReward(judge), prefix, candidate)
        one(callable_reward(texts), prefix, candidate)
        whole = [*(before.text for before in prefix.steps), candidate.text]
        assert told[-1] == whole
        assert all(line in prompts[-1] for text in whole for line in text.split("\n"))


def test_the_verifier_reads_the_step_with_what_was_thought_in_it() -> None:
    verifier = VerifierReward()
    assert one(verifier, THINKING, INSIDE[1]) == 1.0 and one(verifier, ANSWERING, BEHIND) == 0.5
    assert one(verifier, THINKING, step("2+2=5." + CLOSE, "\n\n2+2=4.\n\n")) == 0.0


def test_a_cache_tells_an_answer_from_the_same_text_thought() -> None:
    asked: list[int] = []

    class Counting(VerifierReward):
        def __call__(self, prefix: Prefix, steps: object) -> list[float]:
            asked.extend(s.thought for s in steps)  # type: ignore[attr-defined]
            return [s.thought / 10 for s in steps]  # type: ignore[attr-defined]

    cached = CachedReward(Counting())
    values = [one(cached, THINKING, replace(BEHIND, thought=thought)) for thought in (0, 3, 0, 3)]
    assert values == [0.0, 0.3, 0.0, 0.3] and asked == [0, 3]
