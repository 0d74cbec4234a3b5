"""The prompt of a problem: the conversation before it and itself in the chat template, or a completion prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gsi_node.errors import ConfigError, whole_text
from gsi_node.text.chat import Chat
from gsi_node.text.chat_template import ChatTemplate
from gsi_node.text.codec import Codec
from gsi_node.text.thinking import thinking_in
from gsi_node.types import Ids, Thinking, Turn

_SLOT = "{problem}"


@dataclass(frozen=True, slots=True)
class PromptSettings:
    """How problems are put to a model: with its chat template, or as a completion.

    system_prompt: None sends no system message (a template may then insert its own, as Qwen2.5's does); "" sends an
    empty one. messages: earlier turns, {"role", "content"}, between it and the problem. template: a completion prompt
    with one "{problem}", instead; control tokens in it mean what they say, those in all other texts do not. arguments:
    further names for the chat template, JSON values. date: YYYY-MM-DD, the day it writes; None for that of loading.
    """

    system_prompt: str | None = None
    use_chat_template: bool = True
    template: str | None = None
    messages: Sequence[Mapping[str, str]] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    date: str | None = None


USUAL = PromptSettings()


_PROBE = (Turn("system", " 1 "), Turn("user", "2"), Turn("assistant", "<think>\n3\n</think>\n\n4"), Turn("user", " 5 "))


@dataclass(frozen=True, slots=True)
class PromptFormat:
    """Token ids before and after a lone problem, which has no turns before it but the settings' own (`turns`).

    chat: None for a completion prompt. date: the day that a lone problem's prompt tells, as ChatTemplate.date_in does.
    """

    codec: Codec
    before: Ids
    after: Ids
    chat: Chat | None = None
    turns: tuple[Turn, ...] = ()
    date: str | None = None

    @property
    def rendered(self) -> tuple[object, ...]:
        """What determines the ids of every prompt, for fingerprints: those around a lone problem, and the text of some
        conversations, None where the template refuses it."""
        probes = [] if self.chat is None else [_PROBE, _PROBE[1:], _PROBE[3:]]
        return self.before, self.after, *map(self._probed, probes)

    @property
    def findings(self) -> tuple[str, ...]:
        """What the doctor prints: the prompt as text, with "…" where the problem goes, and the date in it."""
        prompt = f"prompt {self.codec.decode(self.before)!r} … {self.codec.decode(self.after)!r}"
        return (prompt,) if self.date is None else (prompt, f"its template writes a date, {self.date}; ?date= pins it")

    def ids(self, problem: str, earlier: tuple[Turn, ...] = ()) -> Ids:
        """The prompt's token ids, at least one: a system turn of `earlier` goes first, then the settings' turns, then
        the rest of `earlier`, then the problem. Raises ConfigError for turns that have no place, or switch thinking."""
        try:
            before, text, after = self._around(problem, earlier)
        except ConfigError as error:
            if not earlier:
                raise
            hint = 'earlier_messages="ignore" leaves out what stands before the last human message'
            raise ConfigError(f"{error}; {hint}") from error
        ids = before + self.codec.encode(text) + after
        if not ids:
            raise ConfigError(f"the problem is empty and {self.codec.name} adds nothing to it; give a problem")
        return ids

    @property
    def thinking(self) -> Thinking | None:
        """How the model thinks behind a lone problem."""
        return thinking_in(self.codec, self.after, chat=self.chat is not None)

    def _around(self, problem: str, earlier: tuple[Turn, ...]) -> tuple[Ids, str, Ids]:
        """The ids before the problem's text, that text, and the ids after it."""
        if self.chat is None:
            if earlier:
                raise ConfigError(
                    f"{self.codec.name} is given a completion prompt, which has no place for earlier turns"
                )
            return self.before, problem, self.after
        turns = turns_before(self.codec.name, self.turns, earlier)
        before, text, after = self.chat.ids([*turns, Turn("user", problem)])
        if after != self.after and thinking_in(self.codec, after, chat=True) != self.thinking:
            raise ConfigError(
                f"the chat template of {self.codec.name} switches thinking for this conversation, and a run keeps to "
                "what the template does for a lone problem: take the switch out of the turns, and give its argument in "
                "the spec (?enable_thinking=false)"
            )
        return before, text, after

    def _probed(self, turns: tuple[Turn, ...]) -> str | None:
        assert self.chat is not None
        try:
            before = turns_before(self.codec.name, self.turns, turns[:-1])
            return self.chat.template.written([*before, turns[-1]])
        except ConfigError:
            return None


def prompt_format(codec: Codec, settings: PromptSettings, *, ending: str) -> PromptFormat:
    """The chat template with a generation prompt if there is one, else BOS (if usual) + problem + `ending`."""
    system_prompt, template = settings.system_prompt, settings.template
    for what, text in (("system_prompt", system_prompt), ("template", template)):
        whole_text(text or "", what)
    if template is not None:
        if given := _of_chat(settings):
            raise ConfigError(f"{codec.name}: template has no place for {given}; write a chat's turns into it")
        return _completion(codec, template)
    if not settings.use_chat_template or getattr(codec.tokenizer, "chat_template", None) is None:
        if given := _of_chat(settings):
            raise ConfigError(f"{codec.name} uses no chat template, so there is no place for {given}")
        return PromptFormat(codec, codec.bos_ids, codec.encode_marked(ending))
    turns = own_turns(settings)
    chat = Chat(codec, ChatTemplate(codec, settings.arguments, settings.date))
    lone = [*turns, Turn("user", "1")]
    before, _, after = chat.ids(lone)
    return PromptFormat(codec, before, after, chat, turns, chat.template.date_in(lone))


def own_turns(settings: PromptSettings) -> tuple[Turn, ...]:
    """The turns that the settings put before a problem. Raises ConfigError for messages that are none."""
    system = () if settings.system_prompt is None else (Turn("system", settings.system_prompt),)
    return (*system, *map(_turn, settings.messages))


def turns_before(name: str, own: tuple[Turn, ...], earlier: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """The turns before a problem: own ones of the settings behind a system turn of the conversation, its others after.

    name: of the model, for ConfigError where both have a system turn."""
    first = 1 if earlier and earlier[0].role == "system" else 0
    if own and own[0].role == "system" and any(turn.role == "system" for turn in earlier):
        raise ConfigError(
            f"{name}: the conversation has a system turn, and the spec or its prompt file sets system_prompt; leave "
            "one of the two out"
        )
    return earlier[:first] + own + earlier[first:]


def _of_chat(settings: PromptSettings) -> str:
    """The names of the settings given that only a chat template has a place for."""
    given = {name: getattr(settings, name) for name in ("system_prompt", "messages", "arguments", "date")}
    return " and ".join(name for name, value in given.items() if value is not None and value not in ((), {}, []))


def _turn(message: Any) -> Turn:
    if not isinstance(message, Mapping) or set(message) != {"role", "content"}:
        raise ConfigError(f'messages: want {{"role": …, "content": …}} in each, got {message!r:.80}')
    role, content = message["role"], message["content"]
    if role not in ("user", "assistant") or not isinstance(content, str):
        raise ConfigError(f"messages: the role is user or assistant and the content a text, got {message!r:.80}")
    whole_text(content, "messages")
    return Turn(role, content)


def _completion(codec: Codec, template: str) -> PromptFormat:
    before, *after = template.split(_SLOT)
    if len(after) != 1:
        raise ConfigError(f"{codec.name}: template has {len(after)} times {_SLOT}; write it once")
    head, tail = codec.encode_marked(before), codec.encode_marked(after[0])
    head = head if head[: len(codec.bos_ids)] == codec.bos_ids else codec.bos_ids + head
    return PromptFormat(codec, head, tail)
