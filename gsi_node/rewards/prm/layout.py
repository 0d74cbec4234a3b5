"""How a family of process reward models writes (problem, steps) as token ids, in pieces that never change later.

Every text is encoded by itself and its ids are appended, so a committed prefix keeps its ids and the prefix cache
holds. The ids of a candidate end with the token at which the model is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from itertools import chain
from typing import Any

from gsi_node.errors import ConfigError
from gsi_node.rewards.paragraphs import one_paragraph
from gsi_node.text.chat_template import ChatTemplate
from gsi_node.text.codec import Codec
from gsi_node.text.prompt import PromptFormat, PromptSettings, prompt_format
from gsi_node.types import Ids, Turn

_TEXTS = ("GSIFIRSTTEXT7F3A", "GSISECONDTEXT7F3A", "GSITHIRDTEXT7F3A")


@dataclass(frozen=True, slots=True)
class LayoutOptions:
    """What the user asks of a layout, None where the family decides. arguments, date: as in PromptSettings."""

    separator: str | None = None
    system_prompt: str | None = None
    use_chat_template: bool | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    date: str | None = None


NONE = LayoutOptions()


@dataclass(frozen=True, slots=True)
class StepLayout:
    """ids(problem, steps) = before + problem + after, then each step: glue (not before the first) + step + mark.

    mark: ids after a step; the model is read at the last of them. around, first, later: texts encoded together with
    the problem, the first step, a later step. lines: written between the lines of a step, which are then encoded one by
    one. joined: this text follows a committed step, encoded with it, in place of its mark (the mark ends the response).
    trim: steps lose the white space at both ends. ends: texts that a model may leave at the end of a step. chat: writes
    the human and AI turns of a conversation before the problem; None where the problem is read alone.
    """

    codec: Codec
    before: Ids
    mark: Ids
    after: Ids = ()
    around: tuple[str, str] = ("", "")
    first: str = ""
    later: str = ""
    glue: Ids = ()
    lines: Ids | None = None
    joined: str | None = None
    trim: bool = False
    ends: tuple[str, ...] = ()
    chat: PromptFormat | None = None

    @property
    def shape(self) -> tuple[object, ...]:
        """What determines the ids of a lone problem apart from the tokenizer, for fingerprints."""
        return tuple(getattr(self, field.name) for field in fields(self) if field.name not in ("codec", "chat"))

    @property
    def conversation(self) -> tuple[object, ...] | None:
        """What determines those of a conversation before it, for fingerprints."""
        return None if self.chat is None else self.chat.rendered

    def bare(self, text: str) -> str:
        """The step's text as one paragraph, without trailing newlines and end tokens; "" for an empty step."""
        text = text.rstrip("\n")
        while self.ends and text.endswith(self.ends):
            text = next(text.removesuffix(end) for end in self.ends if text.endswith(end)).rstrip("\n")
        if not text.strip():
            return ""
        return one_paragraph(text.strip() if self.trim else text)

    def prompt(self, problem: str, earlier: tuple[Turn, ...] = ()) -> Ids:
        """The ids before the first step; at least one. A system turn tells how to solve, and is no matter here."""
        said = tuple(turn for turn in earlier if turn.role != "system")
        if said and self.chat is not None:
            return self.chat.ids(problem, said)
        start, end = self.around
        ids = self.before + self.codec.encode(start + problem + end) + self.after
        if not ids:
            raise ConfigError(f"the problem is empty and {self.codec.name} adds nothing to it; give a problem")
        return ids

    def candidate(self, text: str, first: bool) -> Ids:
        """The ids of a step up to where it is read; () for an empty step."""
        bare = self.bare(text)
        return self._step(bare, first) + self.mark if bare else ()

    def committed(self, text: str, first: bool) -> Ids:
        """The ids of a step that others follow; () for an empty step."""
        bare = self.bare(text)
        if bare and self.joined is not None:
            return self._step(bare + self.joined, first)
        return self._step(bare, first) + self.mark if bare else ()

    def _step(self, text: str, first: bool) -> Ids:
        glue, text = ((), self.first + text) if first else (self.glue, self.later + text)
        if self.lines is None:
            return glue + self.codec.encode(text)
        pieces = [self.codec.encode(line) for line in text.split("\n") if line.strip()]
        return glue + tuple(chain(pieces[0], *((*self.lines, *piece) for piece in pieces[1:])))


def start_of_text(codec: Codec) -> str:
    """The space that a SentencePiece tokenizer puts before a text by itself, "" where there is none."""
    alone = tuple(codec.tokenizer.encode("a", add_special_tokens=False))
    return " " if alone != codec.encode_marked("a") and alone == codec.encode_marked(" a") else ""


def bos(codec: Codec) -> Ids:
    """The tokenizer's start token, whether or not it adds it by itself."""
    found = codec.tokenizer.bos_token_id
    return codec.bos_ids if found is None else (int(found),)


def marker(codec: Codec, text: str) -> Ids:
    """The one id of a family's own token; ConfigError where the tokenizer does not know it."""
    ids = codec.encode_marked(text)
    if len(ids) != 1 or codec.decode(ids).strip() != text.strip():
        raise ConfigError(
            f"the tokenizer of reward model {codec.name} has no token {text!r}; is it a model of this family? "
            "Force another family with prm:NAME@family"
        )
    return ids


def separator_ids(codec: Codec, text: str) -> Ids:
    """The ids of a step separator; ConfigError if there are none."""
    ids = codec.encode_marked(text)
    if not ids:
        raise ConfigError(f"the tokenizer of reward model {codec.name} has no ids for separator {text!r}")
    return ids


def plain_layout(codec: Codec, separator: str) -> StepLayout:
    """TRL's own: BOS if there is one, the problem, then every step with the separator, each encoded alone."""
    lead = start_of_text(codec)
    mark = separator_ids(codec, lead + separator)
    return StepLayout(codec, bos(codec), mark, around=(lead, ""), first=lead, later=lead, ends=_ends(codec, separator))


def chat_layout(codec: Codec, wish: LayoutOptions, mark: Ids, separator: str) -> StepLayout:
    """The chat template with a generation prompt (BOS, problem and "\\n" without one), then steps with marks."""
    settings = PromptSettings(
        wish.system_prompt, wish.use_chat_template is not False, arguments=wish.arguments, date=wish.date
    )
    prompt = prompt_format(codec, settings, ending="\n")
    chat = _conversing(prompt, prompt.before, prompt.after)
    return StepLayout(codec, prompt.before, mark, prompt.after, ends=_ends(codec, separator), chat=chat)


def lines_layout(codec: Codec) -> StepLayout:
    """Skywork's: BOS, problem and "\\n" encoded together, then every line by itself with one "\\n" after it."""
    newline = separator_ids(codec, "\n")[-1:]
    return StepLayout(codec, bos(codec), newline, around=("", "\n"), lines=newline, ends=_ends(codec, ""))


def tagged_layout(codec: Codec, tag: str) -> StepLayout:
    """Math-Shepherd's: BOS, problem, " step ки", then "\\nstep ки" for each further step."""
    mark = marker(codec, " " + tag)
    return StepLayout(
        codec, bos(codec), mark, around=(start_of_text(codec), ""), first=" ", later="\n", ends=_ends(codec, tag)
    )


def spaced_layout(codec: Codec) -> StepLayout:
    """VersaPRM's: BOS, problem and " \\n\\n" encoded together, then every step by itself with " \\n\\n\\n\\n"."""
    mark = separator_ids(codec, " \n\n\n\n")
    return StepLayout(codec, bos(codec), mark, around=("", " \n\n"), ends=_ends(codec, ""))


def turns_layout(codec: Codec, wish: LayoutOptions, answer: str) -> StepLayout:
    """RLHFlow's: a user turn a step, the first one "problem step1"; the assistant's answers so far are all `answer`."""
    first, _, third = _TEXTS
    turns = [Turn("user", first), Turn("assistant", answer), Turn("user", third)]
    before, middle, opening = _rendered(codec, wish, turns, (first, third), opened=True)
    if not middle.startswith(opening + answer):
        raise ConfigError(f"the chat template of {codec.name} opens a turn of the assistant in two ways; use Llama 3's")
    glue, mark = codec.encode_marked(middle[len(opening) :]), codec.encode_marked(opening)
    return StepLayout(codec, codec.encode_marked(before), mark, first=" ", glue=glue, trim=True, ends=_ends(codec, ""))


def response_layout(codec: Codec, wish: LayoutOptions) -> StepLayout:
    """An outcome model's: user and assistant turn; steps joined by "\\n\\n"; a candidate closes the turn."""
    first, second, _ = _TEXTS
    turns = [Turn("user", first), Turn("assistant", second)]
    before, after, closing = map(codec.encode_marked, _rendered(codec, wish, turns, (first, second), opened=False))
    settings = PromptSettings(wish.system_prompt, arguments=wish.arguments, date=wish.date)
    chat = _conversing(prompt_format(codec, settings, ending=""), before, after)
    return StepLayout(codec, before, closing, after, joined="\n\n", ends=_ends(codec, ""), chat=chat)


def _conversing(prompt: PromptFormat, before: Ids, after: Ids) -> PromptFormat | None:
    """What writes conversations, if its template takes them and opens the answer as the layout does."""
    try:
        prompt.ids("3", (Turn("user", "1"), Turn("assistant", "2")))
    except ConfigError:
        return None
    return prompt if (prompt.before, prompt.after) == (before, after) else None


def _ends(codec: Codec, separator: str) -> tuple[str, ...]:
    eos = codec.tokenizer.eos_token
    return tuple(text for text in (None if eos is None else str(eos), separator.strip()) if text)


def _rendered(
    codec: Codec, wish: LayoutOptions, turns: list[Turn], cuts: tuple[str, str], *, opened: bool
) -> tuple[str, str, str]:
    """The chat template around the two placeholders `cuts`: before, between, after."""
    system = [] if wish.system_prompt is None else [Turn("system", wish.system_prompt)]
    if codec.tokenizer.chat_template is None or wish.use_chat_template is False:
        raise ConfigError(
            f"reward model {codec.name} is read through a chat template, and its tokenizer has none in use"
        )
    template = ChatTemplate(codec, wish.arguments, wish.date)
    template.date_in([*system, *turns])  # refuses a date that is never read
    text = template.written([*system, *turns], opened=opened)
    before, *rest = text.split(cuts[0])
    between, *after = rest[0].split(cuts[1]) if len(rest) == 1 else ("",)
    if len(after) != 1:
        raise ConfigError(f"the chat template of {codec.name} does not write every turn exactly once")
    return before, between, after[0]
