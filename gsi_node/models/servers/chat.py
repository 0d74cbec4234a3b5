"""A model behind /v1/chat/completions (chat:…) as a StepModel: texts in and out, no token ids, no log-probabilities.

A response goes on as the last, assistant turn of the conversation, where the endpoint takes one. No stop string is
asked for: the blanks that end a step are trimmed on the way there, and written anew, and would stop every answer at
once. Each candidate is a request of its own, streamed, and left at the end of its step.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from hashlib import blake2b
from math import inf
from typing import Any

from gsi_node.cancel import together
from gsi_node.errors import ConfigError, LawMismatch
from gsi_node.hearing import current_hear
from gsi_node.identity import fingerprint_of
from gsi_node.models.servers.chat_rows import ChatRow, ChatStep, Sent, sent
from gsi_node.models.servers.client import ModelClient
from gsi_node.models.servers.dialect import NEUTRAL
from gsi_node.models.servers.http import Transport
from gsi_node.models.servers.model import seed
from gsi_node.text.counted import CountedText
from gsi_node.text.prompt import USUAL, PromptSettings, own_turns, turns_before
from gsi_node.types import Key, Prefix, SamplingLaw, Score, Step, Turn

PATH = "/v1/chat/completions"
_UNTOLD = "a chat endpoint tells no log-probabilities of given steps"


@dataclass(frozen=True, slots=True)
class Prefill:
    """How an endpoint is told that the last turn goes on: fields of such a request, and of that turn; and fields of
    every request, by which it samples from the plain softmax. continues: whether it can be told."""

    request: Mapping[str, Any] = field(default_factory=dict)
    turn: Mapping[str, Any] = field(default_factory=dict)
    plain: Mapping[str, Any] = field(default_factory=dict)
    continues: bool = True


_PLAIN = {
    name: NEUTRAL[name] for name in ("top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty")
}
PREFILLS = {
    "continue_final_message": Prefill(  # vLLM, SGLang
        {"continue_final_message": True, "add_generation_prompt": False}, plain=_PLAIN
    ),
    "prefix": Prefill(turn={"prefix": True}),  # Mistral, DeepSeek; they refuse names that are not OpenAI's
    "none": Prefill(continues=False),
}
"""By what a spec says, `?prefill=…`."""


class ChatStepModel(ModelClient):
    """π on a chat endpoint, which draws by its own random numbers, seeded from Stream(key, i) where it honours seeds.

    A step's ids are those of `counted`, its log-probability is known within inf. names: under which answers may come.
    streams: whether it streams; else answers are read whole, up to max_step_tokens, and cut. echoes: whether answers
    begin with the turn that they go on from. The last three, and `findings`, are what chat_probe.py found out.
    """

    def __init__(
        self,
        transport: Transport,
        model: str,
        counted: CountedText,
        *,
        prefill: str = "continue_final_message",
        prompt: PromptSettings = USUAL,
    ) -> None:
        self.name = f"chat:{transport.name}#{model}"
        if prefill not in PREFILLS:
            raise ConfigError(f"{self.name}: prefill is {prefill!r:.60}; write {', '.join(PREFILLS)}")
        own = {"template", "date", "use_chat_template"}.intersection(prompt.arguments)
        if own or prompt.template is not None or prompt.date is not None or not prompt.use_chat_template:
            raise ConfigError(
                f"{self.name}: the endpoint renders the prompt, which has no place for template, date or "
                "use_chat_template; leave them out"
            )
        self.transport, self.model, self.counted, self.prefill = transport, model, counted, PREFILLS[prefill]
        self._turns, self._arguments = own_turns(prompt), dict(prompt.arguments)
        self._told = (prefill, self._turns, sorted(self._arguments.items()))
        self.names = frozenset((model,))
        self.streams, self.echoes = True, False
        self.findings: tuple[str, ...] = ()

    @property
    def vocabulary(self) -> str:
        """That of `counted`, which no model with ids of its own shares."""
        return self.counted.vocabulary

    @property
    def eos_ids(self) -> tuple[int, ...]:
        return (self.counted.eos_id,)

    @property
    def continues(self) -> bool:
        """Whether it goes on from steps."""
        return self.prefill.continues

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the served name, of how steps are counted, and of the turns, arguments and prefill that are sent.
        The weights, and the template, are the endpoint's."""
        digest = blake2b(repr((self.model, self.vocabulary)).encode("utf-8", "surrogatepass"), digest_size=16)
        return fingerprint_of(f"chat:{digest.hexdigest()}", {"model": self.model, "prompt": self._told})

    def supports(self, law: SamplingLaw) -> None:
        """Every law; LawMismatch for step ends where answers are whole."""
        if law.max_step_tokens < 1:
            raise LawMismatch(f"max_step_tokens is {law.max_step_tokens}; a step needs room for at least one token")
        if not self.continues and law.ends.strings:
            told = ", ".join(map(repr, law.ends.strings))
            raise LawMismatch(
                f'{self.name} answers whole (?prefill=none), but steps end at {told}: set step_end to "tokens:K", with '
                "K the tokens of a whole response, and max_steps to 1"
            )

    def check_ratio(self, law: SamplingLaw) -> None:
        """LawMismatch: it takes no part in π_B/π_S."""
        raise LawMismatch(f"{self.name}: {_UNTOLD}")

    def encode(self, text: str) -> tuple[int, ...]:
        """The ids that a text counts as."""
        return self.counted.encode(text)

    def step_of(self, prefix: Prefix, token_ids: Sequence[int], log_prob: float) -> Step:
        """The step that these ids stand for."""
        text, finished = self.counted.text_of(token_ids)
        return Step(text, tuple(token_ids), log_prob, finished, inf)

    async def draw(
        self,
        turns: Sequence[Turn],
        response: str,
        seeds: Sequence[int],
        law: SamplingLaw,
        hear: Callable[[int, ChatStep], None] | None = None,
    ) -> list[ChatStep]:
        """An answer to the turns a seed, which goes on from `response`, each up to its first END. hear: is told of each
        that has come."""
        begun = sent(response)
        echo = begun.text if self.echoes else ""
        begin = partial(ChatRow, self.names, begun, law.ends, self.counted, law.max_step_tokens, echo=echo)
        what, deadline = f"sampling {len(seeds)} steps after {len(response)} characters", self.transport.deadline()
        entries = len(response) + 16 * law.max_step_tokens  # an event has some hundred bytes beside its piece

        def asked(number: int) -> Coroutine[Any, Any, ChatStep]:
            body = self.request(turns, begun, number, law)
            if self.streams:
                body = {**body, "stream": True}
                return self.transport.follow(PATH, body, begin, what, entries=entries, deadline=deadline)

            def read(answer: Any) -> ChatStep:
                row = begin()
                row.more(answer)
                return row.result()

            return self.transport.ask(PATH, body, read, what, entries=entries, deadline=deadline)

        async def one(place: int, number: int) -> ChatStep:
            said = await asked(number)
            if hear is not None:
                hear(place, said)
            return said

        return await together(one(place, number) for place, number in enumerate(seeds))

    def request(self, turns: Sequence[Turn], begun: Sent, seed: int, law: SamplingLaw) -> dict[str, Any]:
        """The body of a request. Raises ConfigError for a response that it cannot go on from."""
        messages: list[dict[str, Any]] = [{"role": turn.role, "content": turn.content} for turn in turns]
        further = dict(self.prefill.plain)
        if self._arguments:
            further["chat_template_kwargs"] = self._arguments
        if begun.text:
            if not self.continues:
                raise ConfigError(
                    f"{self.name} answers whole (?prefill=none), and cannot go on from {begun.text[:60]!r}: set "
                    "max_steps to 1, and give no initial_steps"
                )
            messages.append({"role": "assistant", "content": begun.text, **self.prefill.turn})
            further |= self.prefill.request
        return {
            "model": self.model,
            "messages": messages,
            "seed": seed,
            "temperature": law.temperature,
            "top_p": law.top_p,
            "max_tokens": law.max_step_tokens,
            "stream": False,
            **further,
        }

    async def _sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        self.supports(law)
        if n < 1:
            raise ConfigError(f"n is {n}; ask for at least one candidate")
        turns = [*turns_before(self.name, self._turns, prefix.earlier), Turn("user", prefix.problem)]
        hear = current_hear()

        def told(place: int, said: ChatStep) -> None:
            if hear is not None:
                hear({place: partial(self._step, said)})

        seeds = [seed(key, i) for i in range(n)]
        return [self._step(said) for said in await self.draw(turns, prefix.text, seeds, law, told)]

    async def _score(self, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]:
        raise LawMismatch(f"{self.name}: {_UNTOLD}")

    def _step(self, said: ChatStep) -> Step:
        ids = self.counted.step_ids(said.text, said.finished)
        return Step(said.text, ids, 0.0, said.finished, inf, beyond=len(self.counted.encode(said.beyond)))
