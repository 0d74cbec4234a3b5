"""The prompt of a problem: the tokenizer's chat template, rendered once around placeholders.

Rendering the user's text itself would let "<|im_start|>" in a problem open a turn. So the template is rendered with
placeholders, cut at them, its own pieces are encoded with control tokens, and the texts are encoded as plain text.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from jinja2 import TemplateError

from gsi_node.engine.codec import Codec, Ids
from gsi_node.errors import ConfigError

_USER, _SYSTEM = "GSIUSERTEXT7F3A", "GSISYSTEMTEXT7F3A"


@dataclass(frozen=True, slots=True)
class PromptFormat:
    """Token ids before and after the problem. `shape` names what determines them, for fingerprints."""

    codec: Codec
    before: Ids
    after: Ids
    shape: tuple[str | None, ...] = field(default=())

    def ids(self, problem: str) -> Ids:
        """The prompt's token ids; at least one."""
        ids = self.before + self.codec.encode(problem) + self.after
        if not ids:
            raise ConfigError(f"the problem is empty and {self.codec.name} adds nothing to it; give a problem")
        return ids


def prompt_format(codec: Codec, *, system_prompt: str | None, use_chat_template: bool, ending: str) -> PromptFormat:
    """The chat template with a generation prompt if there is one, else BOS (if usual) + problem + `ending`.

    system_prompt: None sends no system message (a template may then insert its own, as Qwen2.5's does); "" sends an
    empty one.
    """
    template = getattr(codec.tokenizer, "chat_template", None)
    if not use_chat_template or template is None:
        if system_prompt is not None:
            raise ConfigError(f"{codec.name} uses no chat template, so there is no place for system_prompt")
        return PromptFormat(codec, codec.bos_ids, codec.encode_marked(ending), (None, None, ending))
    messages = [{"role": "user", "content": _USER}]
    if system_prompt is not None:
        messages.insert(0, {"role": "system", "content": _SYSTEM})
    try:
        text = codec.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    except (TemplateError, ValueError) as error:
        raise ConfigError(f"the chat template of {codec.name} cannot be rendered: {error}") from error
    head, *tail = str(text).split(_USER)
    if len(tail) != 1:
        raise ConfigError(f"the chat template of {codec.name} writes the user's text {len(tail)} times instead of once")
    before = codec.encode_marked(head)
    if system_prompt is not None:
        start, *rest = head.split(_SYSTEM)
        if len(rest) != 1:
            raise ConfigError(f"the chat template of {codec.name} writes the system text {len(rest)} times, not once")
        before = codec.encode_marked(start) + codec.encode(system_prompt) + codec.encode_marked(rest[0])
    return PromptFormat(codec, before, codec.encode_marked(tail[0]), (str(template), system_prompt, None))
