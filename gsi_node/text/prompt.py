"""The prompt of a problem: the tokenizer's chat template, rendered once around placeholders, or a completion prompt.

Rendering the user's text itself would let "<|im_start|>" in a problem open a turn. So the template is rendered with
placeholders, cut at them, its own pieces are encoded with control tokens, and the texts are encoded as plain text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2 import TemplateError

from gsi_node.errors import ConfigError
from gsi_node.host.paths import expanded
from gsi_node.host.strict_json import read_settings
from gsi_node.text.codec import Codec
from gsi_node.text.reading import BROKEN, first_line
from gsi_node.types import Ids

_TEXT = "GSITEXT{}7F3A"
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
    """Token ids before and after the problem. `shape` names what they are made from, for fingerprints; a template may
    write more than that, such as the date, so that the ids themselves belong there too."""

    codec: Codec
    before: Ids
    after: Ids
    shape: tuple[str | None, ...] = field(default=())

    @property
    def rendered(self) -> tuple[Ids, Ids]:
        """The ids that every prompt begins and ends with."""
        return self.before, self.after

    @property
    def shown(self) -> str:
        """The prompt as text, with "…" where the problem goes."""
        return f"prompt {self.codec.decode(self.before)!r} … {self.codec.decode(self.after)!r}"

    def ids(self, problem: str) -> Ids:
        """The prompt's token ids; at least one."""
        ids = self.before + self.codec.encode(problem) + self.after
        if not ids:
            raise ConfigError(f"the problem is empty and {self.codec.name} adds nothing to it; give a problem")
        return ids


def prompt_format(codec: Codec, settings: PromptSettings, *, ending: str) -> PromptFormat:
    """The chat template with a generation prompt if there is one, else BOS (if usual) + problem + `ending`."""
    system_prompt, template, messages = settings.system_prompt, settings.template, settings.messages
    for what, text in (("system_prompt", system_prompt), ("template", template)):
        _refuse_halves(text or "", what)
    if template is not None:
        if system_prompt is not None or messages:
            raise ConfigError(f"{codec.name}: template has no place for system_prompt or messages; write them into it")
        return _completion(codec, template)
    chat = getattr(codec.tokenizer, "chat_template", None)
    if not settings.use_chat_template or chat is None:
        if system_prompt is not None or messages:
            what = "system_prompt" if system_prompt is not None else "messages"
            raise ConfigError(f"{codec.name} uses no chat template, so there is no place for {what}")
        return PromptFormat(codec, codec.bos_ids, codec.encode_marked(ending), (None, None, ending))
    system = [] if system_prompt is None else [("system", system_prompt)]
    turns = [*system, *map(_turn, messages)]
    places = [_TEXT.format(i) for i in range(len(turns) + 1)]
    asked = [{"role": role, "content": place} for (role, _), place in zip([*turns, ("user", "")], places, strict=True)]
    try:
        text = str(codec.tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True))
    except (TemplateError, *BROKEN) as error:
        raise ConfigError(f"the chat template of {codec.name} cannot be rendered: {first_line(error)}") from error
    before: Ids = ()
    for message, place, content in zip(asked, places, [*(content for _, content in turns), None], strict=True):
        start, *rest = text.split(place)
        if len(rest) != 1:
            who = "the user's" if content is None else f"the {message['role']}"
            raise ConfigError(f"the chat template of {codec.name} writes {who} text {len(rest)} times instead of once")
        before += codec.encode_marked(start) + (() if content is None else codec.encode(content))
        text = rest[0]
    shape = (str(chat), system_prompt, None, *(part for turn in turns[len(system) :] for part in turn))
    return PromptFormat(codec, before, codec.encode_marked(text), shape)


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


def _turn(message: Any) -> tuple[str, str]:
    if not isinstance(message, Mapping) or set(message) != {"role", "content"}:
        raise ConfigError(f'messages: want {{"role": …, "content": …}} in each, got {message!r:.80}')
    role, content = message["role"], message["content"]
    if role not in ("user", "assistant") or not isinstance(content, str):
        raise ConfigError(f"messages: the role is user or assistant and the content a text, got {message!r:.80}")
    _refuse_halves(content, "messages")
    return role, content


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
    return PromptFormat(codec, head, tail, (None, None, template))
