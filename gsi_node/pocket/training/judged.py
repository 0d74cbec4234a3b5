"""Responses cut into steps and labelled by the exact checker, and the rows of tokens the reward model learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from gsi_node.pocket.training.data import IGNORED, TokenRow, prompt_ids
from gsi_node.pocket.training.tokenizer import load
from gsi_node.pocket.world.problems import PocketProblem, first_error

SEPARATOR = "\n\n"
UNJUDGED = 2
"""The label of a token that is right and teaches language only, no judgement (0: wrong, 1: right)."""


@dataclass(frozen=True, slots=True)
class JudgedResponse:
    """A question and the steps of one response: `right` of them come before the first wrong one.

    `kept` characters of the first wrong step agree with a right one (all of them where it only breaks off).
    """

    question: str
    steps: tuple[str, ...]
    right: int
    kept: int = 0

    @property
    def labels(self) -> list[int]:
        """1 for each step before the first wrong one, 0 for that step and all after it."""
        return [int(index < self.right) for index in range(len(self.steps))]


def split_steps(response: str) -> tuple[str, ...]:
    """The steps of a response: its texts between blank lines, empty ones left out."""
    return tuple(step for step in (part.strip() for part in response.split(SEPARATOR)) if step)


def agreement(one: str, other: str) -> int:
    """How many characters two texts begin with in common."""
    return next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def judge(problem: PocketProblem, response: str) -> JudgedResponse:
    """Label a response by the exact checker."""
    steps = split_steps(response)
    wrong = first_error(problem, steps)
    if wrong is None:
        return JudgedResponse(problem.problem, steps, len(steps))
    texts = problem.alternatives[wrong] if wrong < len(problem.alternatives) else ()
    kept = max((agreement(steps[wrong], text) for text in texts), default=0)
    return JudgedResponse(problem.problem, steps, wrong, kept)


def rows(
    tokenizer: PreTrainedTokenizerFast, judged: Sequence[JudgedResponse], *, inside: bool = False
) -> list[TokenRow]:
    """Prompt, then every step followed by one separator; the label of a step stands at its separator.

    With `inside` every token of a step is labelled too: 1 up to where the response leaves the right path, 0 from there.
    """
    separator = int(tokenizer.vocab[SEPARATOR])
    made: list[TokenRow] = []
    for prompt, item in zip(prompt_ids(tokenizer, [item.question for item in judged]), judged, strict=True):
        ids, labels = list(prompt), [IGNORED] * len(prompt)
        for index, (step, label) in enumerate(zip(item.steps, item.labels, strict=True)):
            encoded = tokenizer(step, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True)
            good = len(step) if label else item.kept if index == item.right else -1
            ends = [end for _, end in encoded["offset_mapping"]]
            ids += [*encoded["input_ids"], separator]
            labels += [int(end <= good) if inside else IGNORED for end in ends] + [label]
        made.append((ids, labels))
    return made


def response_rows(tokenizer: Path, answered: Sequence[tuple[PocketProblem, str | None]]) -> list[TokenRow]:
    """Rows of responses, labelled inside; where there is no response, of the solution, as tokens not to be judged.

    `tokenizer` is a model's folder (a path, so that another process can do this).
    """
    judged = [
        judge(item, SEPARATOR.join(item.solution) if response is None else response) for item, response in answered
    ]
    made = rows(load(tokenizer), judged, inside=True)
    return [
        (ids, [UNJUDGED if label == 1 else label for label in labels] if response is None else labels)
        for (ids, labels), (_, response) in zip(made, answered, strict=True)
    ]
