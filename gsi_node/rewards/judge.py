"""A language model as judge of a step: a prompt that asks for one grade from 0 to 9, as in SpecReason (2504.07891)."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from hashlib import blake2b
from string import Template
from typing import Any, Self

from langchain_core.load import dumpd
from langchain_core.runnables import Runnable, RunnableLambda

from gsi_node.errors import BackendError, ConfigError, SpecError
from gsi_node.identity import described, fingerprint_of
from gsi_node.models.servers.equals import listed
from gsi_node.models.servers.http import USUAL, Failed, Reach, Transport
from gsi_node.rewards.constant import ConstantWatch
from gsi_node.types import Prefix, Step

PROMPT = """You grade one step of a solution. Judge whether the step is correct and brings the solution forward.

Problem:
$problem

Solution so far:
$steps

Step to grade:
$step

Reply with one digit from 0 (wrong or useless) to 9 (certainly correct and useful), and nothing else."""
_GRADE = re.compile(r"\s*([0-9])\s*")
_AT_ONCE = 8  # candidates that one call asks a server for at a time


class _Served:
    """A chat model on servers: one request a prompt, all prompts of a call within one deadline.

    A server is looked at before it is first asked, and when it comes back: it must list the model, where it lists any,
    with the weights that it listed before. Grades are no numbers that two servers of one model always share.
    """

    def __init__(self, transport: Transport, model: str) -> None:
        self.transport = transport
        self._model = model
        self._names = frozenset((model,))
        self._folders: dict[str, str | None] = {}
        self._body = {"model": model, "temperature": 0, "max_tokens": 4}
        transport.check = self._look

    async def _look(self, one: Transport) -> None:
        card, self._names = await listed(one, self._model)
        before = self._folders.setdefault(one.name, card.folder)
        if before != card.folder:
            raise BackendError(
                f"{one.name} serves other weights as {self._model!r} than before: {one.shown(str(card.folder))!r}, not "
                f"{one.shown(str(before))!r}; begin a new run if these are meant"
            )

    def _said(self, answer: Any) -> str:
        named = answer.get("model")
        if isinstance(named, str) and named not in self._names:
            raise Failed(f"model {named!r:.80} answered for {self._model!r}", SpecError, again=False)
        text = answer["choices"][0]["message"]["content"]
        if not isinstance(text, str):
            raise Failed("the answer has no text", fix="Check that MODEL is a chat model that answers directly")
        return text

    def grade(self, prompt: str) -> str:
        return self.transport.wait(self.grades([prompt]))[0]

    async def grades(self, prompts: Sequence[str]) -> list[str]:
        """What it answers to each prompt; if one fails, the others are cancelled."""
        gate, deadline = asyncio.Semaphore(_AT_ONCE), self.transport.deadline()

        async def one(prompt: str) -> str:
            body = {**self._body, "messages": [{"role": "user", "content": prompt}]}
            async with gate:
                return await self.transport.ask("/v1/chat/completions", body, self._said, "a grade", deadline=deadline)

        tasks = [asyncio.ensure_future(one(prompt)) for prompt in prompts]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()


def _settings(judge: Runnable[Any, Any]) -> object:
    """What tells a judge from another beside its name: a function, or the settings of a model or chain."""
    if isinstance(judge, RunnableLambda):
        return described(getattr(judge, "func", None) or judge.afunc)
    told = json.dumps(dumpd(judge), sort_keys=True, default=str)
    return re.sub(r" at 0x[0-9a-fA-F]+|'lc_versions': \{[^}]*\}", "", told)  # of this process, of this installation


class JudgeReward:
    """r(x, y) = grade/9, where `judge` answers the prompt with one digit. Any other answer is an error, not a zero.

    An empty candidate is not shown: one that ends the response keeps the grade of the step before it, others get 0.
    """

    range = (0.0, 1.0)

    def __init__(
        self,
        judge: Runnable[Any, Any] | Callable[[str], Any],
        *,
        prompt: str = PROMPT,
        name: str = "judge",
        concurrency: int = 8,
    ) -> None:
        """judge: a chat model, another Runnable, or a function, from the prompt's text to a text or message.

        prompt: a text with $problem, $steps and $step. name: what it is called in errors and fingerprints, so name
        the model. concurrency: candidates asked for at a time.
        """
        missing = {"problem", "step"} - set(Template(prompt).get_identifiers())
        if missing:
            raise ConfigError(f"the judge's prompt does not show ${' or $'.join(sorted(missing))}")
        self.name = name
        self._judge = judge if isinstance(judge, Runnable) else RunnableLambda(judge)
        self._prompt = Template(prompt)
        self._config: Any = {"max_concurrency": concurrency}
        self._watch = ConstantWatch(name)
        self._served: _Served | None = None

    @classmethod
    def connect(
        cls,
        urls: Sequence[str],
        model: str,
        *,
        reach: Reach = USUAL,
    ) -> Self:
        """The chat model that equal servers at `urls` serve as `model` (/v1/chat/completions), at temperature 0.

        The deadline is that of all candidates of one call.
        """
        if not model:
            raise SpecError("the judge's model is not named; write judge:http://HOST:PORT/v1#MODEL")
        transport = Transport([url.rstrip("/").removesuffix("/v1") for url in urls], reach)
        served = _Served(transport, model)
        judge = cls(served.grade, name=f"judge:{transport.name}#{model}")
        judge._served = served
        return judge

    def close(self) -> None:
        """Close the connections to a server."""
        if self._served is not None:
            self._served.transport.close()

    @property
    def fingerprint(self) -> str:
        digest = blake2b(self._prompt.template.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        return fingerprint_of(f"judge {self.name} {digest}", {"judge": _settings(self._judge)})

    def __call__(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        prompts = self._prompts(prefix, steps)
        asked = [prompt for prompt in prompts if prompt is not None]
        if self._served is not None:
            return self._rewards(prefix, steps, prompts, self._served.transport.wait(self._served.grades(asked)))
        return self._rewards(prefix, steps, prompts, self._judge.batch(asked, self._config))

    async def acall(self, prefix: Prefix, steps: Sequence[Step]) -> list[float]:
        prompts = self._prompts(prefix, steps)
        asked = [prompt for prompt in prompts if prompt is not None]
        if self._served is not None:
            return self._rewards(prefix, steps, prompts, await self._served.transport.join(self._served.grades(asked)))
        return self._rewards(prefix, steps, prompts, await self._judge.abatch(asked, self._config))

    def _prompts(self, prefix: Prefix, steps: Sequence[Step]) -> list[str | None]:
        """What each candidate is judged by; None for one that is not shown."""
        said = [step.text for step in prefix.steps if step.text.strip()]
        ending = self._asking(prefix.problem, said[:-1], said[-1]) if said else None
        return [
            self._asking(prefix.problem, said, step.text) if step.text.strip() else ending if step.finished else None
            for step in steps
        ]

    def _asking(self, problem: str, before: Sequence[str], step: str) -> str:
        texts = "\n\n".join(text.strip() for text in before) or "(nothing yet)"
        return self._prompt.safe_substitute(problem=problem, steps=texts, step=step.strip())

    def _rewards(
        self, prefix: Prefix, steps: Sequence[Step], prompts: Sequence[str | None], answers: Sequence[Any]
    ) -> list[float]:
        rest = iter(answers)
        rewards = []
        for i, prompt in enumerate(prompts):
            answer = 0 if prompt is None else next(rest)
            text = answer if isinstance(answer, str) else getattr(answer, "content", answer)
            found = _GRADE.fullmatch(text) if isinstance(text, str) else None
            if prompt is not None and found is None:
                said = str(text) if self._served is None else self._served.transport.shown(str(text))
                raise BackendError(
                    f"judge {self.name} answered {said[:60]!r} for candidate {i} ({steps[i].text[:60]!r}) of "
                    f"problem {prefix.problem[:60]!r}; one digit from 0 to 9 was asked for"
                )
            rewards.append(int(found[1]) / 9 if found else 0.0)
        self._watch.see(rewards)
        return rewards
