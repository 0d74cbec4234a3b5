"""How verifiers that write are asked, and where their verdicts stand. A format is one record below.

Sources: ThinkPRM (arXiv 2504.16828, github.com/mukhal/ThinkPRM), GenPRM (arXiv 2504.00891,
github.com/RyanLiu112/GenPRM), GenRM (arXiv 2408.15240). docs/rewards.md says what of them was held against their
publishers' code, and where this differs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Literal

from gsi_node.rewards.paragraphs import one_paragraph
from gsi_node.types import Turn

SlotPlace = Literal["each", "last", "behind"]
"""Where a chain has its verdict's slot: it writes one for each step, of which the last step's counts, or the first that
it finds wrong, where it ends there; the last that it writes, or behind a chain that ended by itself without any; behind
a chain that came to its stop."""
_LABEL = re.compile(r"\A(?:#+ *)?Step \d+: *")

_THINKPRM = """You are given a math problem and a proposed step-by-step solution:

[Math Problem]

{problem}

[Solution]

{steps}

Review and critique each step in the proposed solution to determine whether each step is correct. If the solution is \
incomplete, only verify the provided steps."""
_GENPRM = "You are a math teacher. Your task is to review and critique the paragraphs in solution step by step."
_JUDGED_RIGHT = "<output>\n**Judgement**: $\\boxed{Yes}$\n</output>"
_QUESTION = "Verification: Is the answer correct (Yes/No)?"
_YESNO = """Check a solution of a problem. It may stop early: then check what there is of it.

Problem:
{problem}

Solution:
{steps}

Go through it, and work out anew whatever it states. Write last, on a line of its own and followed by Yes or No:
{question}"""


@dataclass(frozen=True, slots=True)
class VerifierFormat:
    """How one kind of verifier is asked about the last of some steps, and read.

    turns(problem, steps): what it is told, the last of them by the user. opening: how its answer is begun, with the
    number of the step in place of {k}; not that of a model that thinks, where the slot is its "last". stop: the text
    that ends its chain, None where EOS alone does. slot: the text whose next token is the verdict, and its `place`.
    words: the verdicts, good first.
    """

    name: str
    turns: Callable[[str, Sequence[str]], tuple[Turn, ...]]
    opening: str
    stop: str | None
    slot: str
    place: SlotPlace
    words: tuple[str, str]

    @property
    def told(self) -> tuple[object, ...]:
        """What determines the texts of every question and where it is read, for fingerprints."""
        rest = tuple(getattr(self, field.name) for field in fields(self) if field.name != "turns")
        return self.turns("1", ["2"]), self.turns("1", ["2", "3\n\n4"]), *rest

    def slot_end(self, said: str, k: int, finished: bool) -> int | None:
        """Where in a chain the slot of the k-th step ends, in characters; None where the chain has none. finished:
        whether it ended by itself."""
        if self.place == "each":
            *before, rest = said.split(self.slot, k)
            wrong = before and finished and rest.startswith(self.words[1])
            return len(said) - len(rest) if len(before) == k or wrong else None
        found = said.rfind(self.slot) if self.place == "last" else -1
        return None if found < 0 else found + len(self.slot)

    def slot_behind(self, said: str, finished: bool) -> str | None:
        """What is written behind a chain that has no slot of its own; None where it came to no end."""
        if self.place == "behind" and self.stop is not None and said.endswith(self.stop):
            return self.slot
        return f"\n\n{self.slot}" if self.place == "last" and finished and said.strip() else None


def _listed(problem: str, steps: Sequence[str]) -> tuple[Turn, ...]:
    """One line a step at least, numbered anew where a step numbers itself."""
    numbered = "\n".join(f"Step {k}: {_LABEL.sub('', one_paragraph(step))}" for k, step in enumerate(steps, 1))
    return (Turn("user", _THINKPRM.format(problem=problem, steps=numbered)),)


def _paragraphs(problem: str, steps: Sequence[str]) -> tuple[Turn, ...]:
    """A user turn a step, the first with the problem. What it said of earlier steps is that they are right."""
    first, *later = map(one_paragraph, steps)
    told = [f"Question: {problem}\n\n{first}", *later]
    turns = [turn for text in told for turn in (Turn("user", text), Turn("assistant", _JUDGED_RIGHT))]
    return (Turn("system", _GENPRM), *turns[:-1])


def _whole(problem: str, steps: Sequence[str]) -> tuple[Turn, ...]:
    return (Turn("user", _YESNO.format(problem=problem, steps="\n\n".join(steps), question=_QUESTION)),)


FORMATS: dict[str, VerifierFormat] = {
    one.name: one
    for one in (
        VerifierFormat(
            "thinkprm",
            _listed,
            "\nLet's verify step by step:",
            None,
            "The step is \\boxed{",
            "each",
            ("correct", "incorrect"),
        ),
        VerifierFormat(
            "genprm",
            _paragraphs,
            "<analyze>\nLet's analyze the Paragraph {k} step by step: ",
            "</analyze>\n",
            "<output>\n**Judgement**: $\\boxed{",
            "behind",
            ("Yes", "No"),
        ),
        VerifierFormat("yesno", _whole, "Let's verify step by step.\n", None, _QUESTION, "last", (" Yes", " No")),
    )
}
