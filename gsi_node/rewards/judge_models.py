"""Who grades prompts for a judge: a function or chat model of this process, or a chat model on servers."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Protocol, get_args, get_origin

from gsi_node.cancel import run_cancellable, together
from gsi_node.errors import BackendError, SpecError
from gsi_node.identity import described, fingerprint_of, own_fingerprint
from gsi_node.models.servers.agreement import listed
from gsi_node.models.servers.http import Failed, Transport
from gsi_node.rewards.grades import LISTED, MeanGrade, expected_grade, grade_in

READINGS = ("grade", "expected")
_AT_ONCE = 8  # candidates that one call asks a server for at a time
Prompt = str | list[dict[str, str]]
"""A text; or the messages of a conversation, which only a grader gets that `converses`."""


class ChatModel(Protocol):
    """What a judge asks of a chat model or chain; LangChain's Runnables have it."""

    def invoke(self, prompt: Any, /) -> Any: ...
    async def ainvoke(self, prompt: Any, /) -> Any: ...


class LocalGrader:
    """A ChatModel, or a function, sync or async, asked for `concurrency` prompts at a time."""

    def __init__(self, judge: ChatModel | Callable[[str], Any], concurrency: int) -> None:
        self._judge = judge
        self._concurrency = concurrency
        chat: Any = judge
        self.converses = _takes_messages(judge)
        self._invoke: Callable[[Any], Any] = chat.invoke if hasattr(judge, "invoke") else chat
        self._ainvoke: Callable[[Any], Any] | None = getattr(judge, "ainvoke", None)
        if self._ainvoke is None and inspect.iscoroutinefunction(judge):
            self._ainvoke = judge

    def fingerprint(self, first: str) -> str:
        """`first`, and what tells it from another of the same name: its function, or its settings."""
        function = getattr(self._judge, "func", None) or getattr(
            self._judge, "afunc", None
        )  # LangChain's RunnableLambda
        if callable(function) or not hasattr(self._judge, "invoke"):
            return fingerprint_of(first, {"judge": described(function or self._judge)})
        if not hasattr(self._judge, "to_json"):
            return fingerprint_of(first, {"judge": own_fingerprint(self._judge)})
        told = json.dumps(_plain(self._judge), sort_keys=True, default=str)
        told = re.sub(r" at 0x[0-9a-fA-F]+|'lc_versions': \{[^}]*\}", "", told)  # of this process and installation
        return fingerprint_of(first, {"judge": told})

    def grade(self, prompts: Sequence[Prompt]) -> list[Any]:
        """What it answers to each prompt."""
        if self._invoke is self._ainvoke:
            raise BackendError(
                "the judge is an async function, and is asked by a synchronous run: call ainvoke, or pass "
                "a plain function"
            )
        with ThreadPoolExecutor(self._concurrency, thread_name_prefix="gsi-judge") as pool:
            asked = [pool.submit(copy_context().run, self._invoke, prompt) for prompt in prompts]
            return [one.result() for one in asked]

    async def agrade(self, prompts: Sequence[Prompt]) -> list[Any]:
        gate = asyncio.Semaphore(self._concurrency)

        async def one(prompt: Prompt) -> Any:
            async with gate:
                if self._ainvoke is None:
                    return await run_cancellable(self._invoke, prompt)
                return await self._ainvoke(prompt)

        return await together([one(prompt) for prompt in prompts])

    def shown(self, text: str) -> str:
        """Its words as they may stand in an error."""
        return text

    def close(self) -> None:
        """Nothing is held."""


class ServedGrader:
    """A chat model on servers: one request a prompt, all prompts of a call within one deadline.

    A server is looked at before it is first asked, and when it comes back: it must list the model, where it lists any,
    with the weights that it listed before. Grades are no numbers that two servers of one model always share.

    max_tokens: of an answer, its thinking included. read: "grade", what it says; "expected", the mean of the digits
    listed in its place.
    """

    converses = True

    def __init__(self, transport: Transport, model: str, *, max_tokens: int = 4, read: str = "grade") -> None:
        if read not in READINGS:
            raise SpecError(f"judge {model}: read={read!r:.40} is unknown; known: {', '.join(READINGS)}")
        self.transport = transport
        self._model = model
        self._names = frozenset((model,))
        self._folders: dict[str, str | None] = {}
        self._settings = (max_tokens, read)
        self._body: dict[str, Any] = {"model": model, "temperature": 0, "max_tokens": max_tokens}
        self._expects = read == "expected"
        if self._expects:
            self._body |= {"logprobs": True, "top_logprobs": LISTED}
        transport.check = self._look

    def fingerprint(self, first: str) -> str:
        """`first`, which names the model and its address, in the form in which checkpoints of all versions hold it;
        and the settings, where they are not those of all versions."""
        plain = self._settings == (4, "grade")
        return f"{first}+judge:53ff246c3c7a7b95" if plain else fingerprint_of(first, {"judge": self._settings})

    async def _look(self, one: Transport) -> None:
        card, self._names = await listed(one, self._model)
        before = self._folders.setdefault(one.name, card.folder)
        if before != card.folder:
            raise BackendError(
                f"{one.name} serves other weights as {self._model!r} than before: {one.shown(str(card.folder))!r}, not "
                f"{one.shown(str(before))!r}; begin a new run if these are meant"
            )

    def _said(self, answer: Any) -> str | MeanGrade:
        """What it says; the expected grade where that is asked for and it says a grade."""
        named = answer.get("model")
        if isinstance(named, str) and named not in self._names:
            raise Failed(f"model {named!r:.80} answered for {self._model!r}", SpecError, again=False)
        choice = answer["choices"][0]
        text = choice["message"]["content"]
        if not isinstance(text, str):
            fix = (
                "Check that MODEL is a chat model that answers directly, or raise max_tokens for one that thinks first"
            )
            raise Failed("the answer has no text", fix=fix)
        grade = grade_in(text) if self._expects else None
        return text if grade is None else expected_grade(choice, grade)

    def grade(self, prompts: Sequence[Prompt]) -> list[str | MeanGrade]:
        """What it answers to each prompt."""
        return self.transport.wait(self._grades(prompts))

    async def agrade(self, prompts: Sequence[Prompt]) -> list[str | MeanGrade]:
        return await self.transport.join(self._grades(prompts))

    def shown(self, text: str) -> str:
        """Its words as they may stand in an error."""
        return self.transport.shown(text)

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()

    async def _grades(self, prompts: Sequence[Prompt]) -> list[str | MeanGrade]:
        gate, deadline = asyncio.Semaphore(_AT_ONCE), self.transport.deadline()
        entries = self._settings[0] * (1 + LISTED if self._expects else 1)

        async def one(prompt: Prompt) -> str | MeanGrade:
            messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
            body, path = {**self._body, "messages": messages}, "/v1/chat/completions"
            async with gate:
                return await self.transport.ask(path, body, self._said, "a grade", entries=entries, deadline=deadline)

        return await together([one(prompt) for prompt in prompts])


def _takes_messages(judge: object) -> bool:
    """Whether it is a chat model of LangChain, or a chain that begins with one: their input may be a list."""
    try:
        kind = getattr(judge, "InputType", None)
    except TypeError:  # a Runnable that does not say
        return False
    return any(get_origin(one) is list for one in get_args(kind))


def _plain(value: Any) -> Any:
    """The settings of a LangChain object as JSON-plain values, in the form of its `dumpd`."""
    if hasattr(value, "to_json"):
        told = dict(value.to_json())
        return told | {"kwargs": _plain(told["kwargs"])} if told.get("type") == "constructor" else told
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | int | float):
        return value
    kind = value if hasattr(value, "__name__") else type(value)
    return {"lc": 1, "type": "not_implemented", "id": [*kind.__module__.split("."), kind.__name__], "repr": repr(value)}
