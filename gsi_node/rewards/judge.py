"""A language model as judge of a step: a prompt that asks for one grade from 0 to 9, as in SpecReason (2504.07891)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from string import Template
from typing import Any, Self

from gsi_node.errors import BackendError, ConfigError, SpecError
from gsi_node.models.servers.http import Transport
from gsi_node.models.servers.reach import USUAL, Reach
from gsi_node.rewards.constant import ConstantWatch
from gsi_node.rewards.grades import LARGEST, MeanGrade, grade_in, still_thinks
from gsi_node.rewards.judge_models import ChatModel, LocalGrader, Prompt, ServedGrader
from gsi_node.rewards.paragraphs import one_paragraph
from gsi_node.types import Prefix, Step, Turn

PROMPT = """You grade one step of a solution. Judge whether the step is correct and brings the solution forward.

Problem:
$problem

Solution so far:
$steps

Step to grade:
$step

Reply with one digit from 0 (wrong or useless) to 9 (certainly correct and useful), and nothing else."""


class JudgeReward:
    """r(x, y) = grade/9, where `judge` answers the prompt with one digit, behind its thinking if it thinks first. Any
    other answer is an error, not a zero.

    An empty candidate is not shown: one that ends the response keeps the grade of the step before it, others get 0. The
    turns before a problem are messages before the prompt, for a chat model; for a function or another chain they stand
    before the problem.
    """

    range = (0.0, 1.0)

    def __init__(
        self,
        judge: ChatModel | Callable[[str], Any] | ServedGrader,
        *,
        prompt: str = PROMPT,
        name: str = "judge",
        concurrency: int = 8,
    ) -> None:
        """judge: a chat model or chain (any object with invoke and ainvoke), or a function, sync or async: from the
        prompt's text to a text or message.

        prompt: a text with $problem, $steps and $step. name: what it is called in errors and fingerprints, so name
        the model. concurrency: candidates asked for at a time.
        """
        missing = {"problem", "step"} - set(Template(prompt).get_identifiers())
        if missing:
            raise ConfigError(f"the judge's prompt does not show ${' or $'.join(sorted(missing))}")
        self.name = name
        self._prompt = Template(prompt)
        self._watch = ConstantWatch(name)
        self._grader: LocalGrader | ServedGrader = (
            judge if isinstance(judge, ServedGrader) else LocalGrader(judge, concurrency)
        )

    @classmethod
    def connect(
        cls, urls: Sequence[str], model: str, *, max_tokens: int = 4, read: str = "grade", reach: Reach = USUAL
    ) -> Self:
        """The chat model that equal servers at `urls` serve as `model` (/v1/chat/completions), at temperature 0.

        max_tokens, read: as in ServedGrader. The deadline is that of all candidates of one call.
        """
        if not model:
            raise SpecError("the judge's model is not named; write judge:http://HOST:PORT/v1#MODEL")
        transport = Transport([url.rstrip("/").removesuffix("/v1") for url in urls], reach)
        try:
            grader = ServedGrader(transport, model, max_tokens=max_tokens, read=read)
        except BaseException:
            transport.close()
            raise
        return cls(grader, name=f"judge:{transport.name}#{model}")

    def close(self) -> None:
        """Close the connections to a server."""
        self._grader.close()

    @property
    def fingerprint(self) -> str:
        digest = blake2b(self._prompt.template.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        return self._grader.fingerprint(f"judge {self.name} {digest}")

    def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        prompts = self._prompts(prefix, steps)
        asked = [prompt for prompt in prompts if prompt is not None]
        return self._rewards(prefix, steps, prompts, self._grader.grade(asked))

    async def acall(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        prompts = self._prompts(prefix, steps)
        asked = [prompt for prompt in prompts if prompt is not None]
        return self._rewards(prefix, steps, prompts, await self._grader.agrade(asked))

    def _prompts(self, prefix: Prefix, steps: Sequence[Step]) -> list[Prompt | None]:
        """What each candidate is judged by; None for one that is not shown."""
        said = [step.text for step in prefix.steps if step.text.strip()]
        ending = self._asking(prefix, said[:-1], said[-1]) if said else None
        return [
            self._asking(prefix, said, step.text) if step.text.strip() else ending if step.finished else None
            for step in steps
        ]

    def _asking(self, prefix: Prefix, before: Sequence[str], step: str) -> Prompt:
        texts = "\n\n".join(one_paragraph(text.strip()) for text in before) or "(nothing yet)"
        turns = [turn._asdict() for turn in prefix.earlier]
        problem = prefix.problem
        if turns and not self._grader.converses:
            told = (*prefix.earlier, Turn("user", problem))
            problem = "\n\n".join(f"{turn.role}: {turn.content}" for turn in told)
        prompt = self._prompt.safe_substitute(problem=problem, steps=texts, step=one_paragraph(step.strip()))
        return [*turns, {"role": "user", "content": prompt}] if turns and self._grader.converses else prompt

    def _rewards(
        self, prefix: Prefix, steps: Sequence[Step], prompts: Sequence[Prompt | None], answers: Sequence[Any]
    ) -> list[float]:
        rest = iter(answers)
        rewards = []
        for i, prompt in enumerate(prompts):
            answer = "0" if prompt is None else next(rest)
            text = answer if isinstance(answer, str) else getattr(answer, "content", answer)
            grade = answer.value if isinstance(answer, MeanGrade) else grade_in(text) if isinstance(text, str) else None
            if grade is None:
                said = self._grader.shown(str(text))
                unended = isinstance(text, str) and still_thinks(text)
                raise BackendError(
                    f"judge {self.name} answered {said[:60]!r} for candidate {i} ({steps[i].text[:60]!r}) of "
                    f"problem {prefix.problem[:60]!r}; one digit from 0 to 9 was asked for"
                    + (", and its thinking did not end: raise max_tokens" if unended else "")
                )
            rewards.append(grade / LARGEST)
        self._watch.see(rewards)
        return rewards
