"""What may be asked of a chat completion: what a solver does, and the values of OpenAI's other parameters that ask for
nothing. Anything else is refused by its name.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, ValidationInfo, field_validator

from gsi_node.graph.context import GSIContext
from gsi_node.graph.told import Told
from gsi_node.service.bodies import MAX_CANDIDATES, Body, Text
from gsi_node.types import Plain

Zero = Annotated[float, Field(ge=0, le=0)]
Label = Annotated[str, Field(max_length=512)]


def _nothing(value: object) -> object:
    if value not in ({}, [], None):
        raise ValueError("a solver has none of it; leave it out")
    return value


Nothing = Annotated[Any, AfterValidator(_nothing)]


class TextPart(Body):
    type: Literal["text"]
    text: Text


Parts = Annotated[tuple[TextPart, ...], Field(min_length=1, max_length=256, fail_fast=True)]
Said = Annotated[
    Annotated[Text, Tag("text")] | Annotated[Parts, Tag("parts")],
    Discriminator(lambda value: "text" if isinstance(value, str) else "parts"),
]
Stop = Annotated[str, Field(min_length=1, max_length=512)]
Stops = Annotated[
    Annotated[Stop, Tag("text")] | Annotated[tuple[Stop, ...], Field(max_length=4, fail_fast=True), Tag("list")],
    Discriminator(lambda value: "text" if isinstance(value, str) else "list"),
]


class MessageBody(Body):
    """A turn. What OpenAI's own answers have beside role and content may come back as null."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Said
    name: Label | None = None
    refusal: None = None
    audio: None = None
    function_call: None = None
    tool_calls: Nothing = None
    annotations: Nothing = None

    def message(self) -> Plain:
        """As the node reads it."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": self.role, "content": text}


class StreamOptions(Body):
    include_usage: bool | None = None
    include_obfuscation: Literal[False] | None = None


class PlainText(Body):
    type: Literal["text"]


class ChatBody(Body):
    """POST /v1/chat/completions. gsi: settings of the run, as GSIContext has them."""

    model: Annotated[str, Field(max_length=512)]
    messages: Annotated[tuple[MessageBody, ...], Field(min_length=1, max_length=4096, fail_fast=True)]
    gsi: GSIContext | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Stops | None = None
    # both are of the law, which the solver was started with
    temperature: float | None = None
    top_p: float | None = None
    # what follows may ask for nothing
    n: Literal[1] | None = None
    presence_penalty: Zero | None = None
    frequency_penalty: Zero | None = None
    logit_bias: Nothing = None
    logprobs: Literal[False] | None = None
    top_logprobs: Literal[0] | None = None
    tools: Nothing = None
    tool_choice: Literal["none", "auto"] | None = None
    parallel_tool_calls: bool | None = None
    functions: Nothing = None
    function_call: Literal["none", "auto"] | None = None
    response_format: PlainText | None = None
    modalities: tuple[Literal["text"]] | None = None
    service_tier: Literal["auto", "default"] | None = None
    store: Literal[False] | None = None
    reasoning_effort: None = None
    verbosity: None = None
    prediction: None = None
    audio: None = None
    web_search_options: None = None
    metadata: dict[str, str] | None = None
    user: Label | None = None
    safety_identifier: Label | None = None
    prompt_cache_key: Label | None = None

    @field_validator("gsi")
    @classmethod
    def _bounded(cls, value: GSIContext | None) -> GSIContext | None:
        for name in ("n", "n_fallback"):
            if (getattr(value, name, None) or 0) > MAX_CANDIDATES:
                raise ValueError(f"{name}: a request may ask for {MAX_CANDIDATES} candidates a step")
        return value

    @field_validator("max_tokens", "max_completion_tokens", "seed")
    @classmethod
    def _once(cls, value: int | None, info: ValidationInfo) -> int | None:
        """One setting has one value."""
        own, name = info.data.get("gsi"), "seed" if info.field_name == "seed" else "max_tokens"
        others = [f"gsi.{name}"] if getattr(own, name, None) is not None else []
        if info.field_name == "max_completion_tokens" and info.data.get("max_tokens") is not None:
            others.append("max_tokens")
        if value is not None and others:
            raise ValueError(f"{others[0]} says the same: give one of them")
        return value

    def context(self) -> Plain:
        """The settings of this run."""
        own = {} if self.gsi is None else self.gsi.model_dump(exclude_none=True)
        most = self.max_completion_tokens if self.max_tokens is None else self.max_tokens
        given = {"max_tokens": most, "seed": self.seed}
        return {**own, **{name: value for name, value in given.items() if value is not None}}

    def told(self) -> Told:
        """What may be told of the run."""
        return Told([self.stop] if isinstance(self.stop, str) else self.stop)

    def usage_wanted(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.include_usage)
