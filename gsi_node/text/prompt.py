"""The prompt of a problem: the conversation before it and itself in the chat template, or a completion prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from gsi_node.errors import ConfigError
from gsi_node.host.paths import expanded
from gsi_node.host.strict_json import read_settings
from gsi_node.text.chat import ChatTemplate
from gsi_node.text.codec import Codec
from gsi_node.types import Ids, Turn

_SLOT = "{problem}"
FIELDS: Mapping[str, type] = {"system_prompt": str, "use_chat_template": bool, "template": str, "messages": list}
"""Of PromptSettings, with their types in a file."""


@dataclass(frozen=True, slots=True)
class PromptSettings:
    """How problems are put to a model: with its chat template, or as a completion.

    system_prompt: None sends no system message (a template may then insert its own, as Qwen2.5's does); "" sends an
    empty one. messages: earlier turns, {"role", "content"}, between it and the problem. template: a completion prompt
    with one "{problem}", instead; control tokens in it mean what they say, those in all other texts do not.
    """

    system_prompt: str | None = None
    use_chat_template: bool = True
    template: str | None = None
    messages: Sequence[Mapping[str, str]] = ()


USUAL = PromptSettings()


@dataclass(frozen=True, slots=True)
class PromptFormat:
    """Token ids before and after a lone problem, which has no turns before it but the settings' own (`turns`).

    chat: None for a completion prompt. `shape` names what the ids are made from, for fingerprints.
    """

    codec: Codec
    before: Ids
    after: Ids
    chat: ChatTemplate | None = None
    turns: tuple[Turn, ...] = ()
    shape: tuple[str | None, ...] = ()

    @property
    def rendered(self) -> tuple[Ids, Ids]:
        """The ids that every prompt begins and ends with."""
        return self.before, self.after

    @property
    def shown(self) -> str:
        """The prompt as text, with "…" where the problem goes."""
        return f"prompt {self.codec.decode(self.before)!r} … {self.codec.decode(self.after)!r}"

    def ids(self, problem: str, earlier: tuple[Turn, ...] = ()) -> Ids:
        """The prompt's token ids, at least one: a system turn of `earlier` goes first, then the settings' turns, then
        the rest of `earlier`, then the problem. Raises ConfigError for turns that have no place."""
        if self.chat is None:
            if earlier:
                raise ConfigError(
                    f"{self.codec.name} is given a completion prompt (no chat template), which has no place for the "
                    'turns before the last human message: set earlier_messages="ignore", or use its chat template'
                )
            ids = self.before + self.codec.encode(problem) + self.after
        else:
            ids = tuple(chain(*self.chat.ids([*self._before(earlier), Turn("user", problem)])))
        if not ids:
            raise ConfigError(f"the problem is empty and {self.codec.name} adds nothing to it; give a problem")
        return ids

    def _before(self, earlier: tuple[Turn, ...]) -> tuple[Turn, ...]:
        """The turns before the problem."""
        first = 1 if earlier and earlier[0].role == "system" else 0
        if self.turns and self.turns[0].role == "system" and any(turn.role == "system" for turn in earlier):
            raise ConfigError(
                f"{self.codec.name}: the conversation has a system turn, and the spec or its prompt file sets "
                "system_prompt; leave one of the two out"
            )
        return earlier[:first] + self.turns + earlier[first:]


def prompt_format(codec: Codec, settings: PromptSettings, *, ending: str) -> PromptFormat:
    """The chat template with a generation prompt if there is one, else BOS (if usual) + problem + `ending`."""
    system_prompt, template, messages = settings.system_prompt, settings.template, settings.messages
    for what, text in (("system_prompt", system_prompt), ("template", template)):
        _refuse_halves(text or "", what)
    if template is not None:
        if system_prompt is not None or messages:
            raise ConfigError(f"{codec.name}: template has no place for system_prompt or messages; write them into it")
        return _completion(codec, template)
    source = getattr(codec.tokenizer, "chat_template", None)
    if not settings.use_chat_template or source is None:
        if system_prompt is not None or messages:
            what = "system_prompt" if system_prompt is not None else "messages"
            raise ConfigError(f"{codec.name} uses no chat template, so there is no place for {what}")
        return PromptFormat(codec, codec.bos_ids, codec.encode_marked(ending), shape=(None, None, ending))
    system = () if system_prompt is None else (Turn("system", system_prompt),)
    turns = (*system, *map(_turn, messages))
    chat = ChatTemplate(codec)
    before, _, after = chat.ids([*turns, Turn("user", "")])
    shape = (str(source), system_prompt, None, *(part for turn in turns[len(system) :] for part in turn))
    return PromptFormat(codec, before, after, chat, turns, shape)


def told_prompt(
    *,
    prompt: str | None = None,
    system_prompt: str | None = None,
    use_chat_template: bool | None = None,
    template: str | None = None,
) -> PromptSettings:
    """The settings that are given, and those of the file `prompt`. Raises ConfigError for what stands in both."""
    given = {"system_prompt": system_prompt, "use_chat_template": use_chat_template, "template": template}
    own: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    fields = {} if prompt is None else read_prompt(prompt)
    if twice := ", ".join(sorted(fields.keys() & own.keys())):
        raise ConfigError(f"prompt file {prompt} and the spec both set {twice}; leave one of them out")
    return PromptSettings(**fields, **own)


def read_prompt(file: str) -> dict[str, Any]:
    """The fields of a prompt file (JSON, or TOML by its name): those of FIELDS. Raises ConfigError."""
    found = read_settings(expanded(file), f"prompt file {file}")
    if not isinstance(found, dict):
        raise ConfigError(f"prompt file {file}: want an object with {', '.join(FIELDS)}")
    for name, value in found.items():
        if name not in FIELDS or not isinstance(value, FIELDS[name]):
            wanted = ", ".join(f"{field} ({kind.__name__})" for field, kind in FIELDS.items())
            raise ConfigError(f"prompt file {file}: {name} = {value!r:.60}; the fields are {wanted}")
    return found


def _turn(message: Any) -> Turn:
    if not isinstance(message, Mapping) or set(message) != {"role", "content"}:
        raise ConfigError(f'messages: want {{"role": …, "content": …}} in each, got {message!r:.80}')
    role, content = message["role"], message["content"]
    if role not in ("user", "assistant") or not isinstance(content, str):
        raise ConfigError(f"messages: the role is user or assistant and the content a text, got {message!r:.80}")
    _refuse_halves(content, "messages")
    return Turn(role, content)


def _refuse_halves(text: str, what: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"{what}: half of a surrogate pair ({text[error.start]!a}) at character {error.start}, which is no text"
        ) from error


def _completion(codec: Codec, template: str) -> PromptFormat:
    before, *after = template.split(_SLOT)
    if len(after) != 1:
        raise ConfigError(f"{codec.name}: template has {len(after)} times {_SLOT}; write it once")
    head, tail = codec.encode_marked(before), codec.encode_marked(after[0])
    head = head if head[: len(codec.bos_ids)] == codec.bos_ids else codec.bos_ids + head
    return PromptFormat(codec, head, tail, shape=(None, None, template))
