"""A chat template as a model's files have it: what it writes of turns, the names that it reads, and the day it writes.

It is rendered in the environment of transformers, but on one day, fixed here: `apply_chat_template` would write another
one after midnight.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

from jinja2 import Template, TemplateError, meta

from gsi_node.errors import ConfigError, UnreadArgument, whole_text
from gsi_node.text.codec import Codec
from gsi_node.text.reading import BROKEN, first_line
from gsi_node.types import Turn

OWN_DATE = "its own"
_SET = frozenset(("messages", "tools", "documents", "add_generation_prompt", "strftime_now", "bos_token", "eos_token"))
"""What the renderer gives to every template, beside the tokenizer's further special tokens."""


class ChatTemplate:
    """arguments: further names for the template, JSON values. date: YYYY-MM-DD; None for the day this object is made.

    Raises ConfigError, with the model's name, for a template that cannot be read, a date that is none, and arguments
    that the renderer sets itself or that hold control tokens; UnreadArgument for those that the template never reads.
    """

    def __init__(self, codec: Codec, arguments: Mapping[str, Any], date: str | None) -> None:
        self.name = codec.name
        self._arguments = dict(arguments)
        self._pinned = None if date is None else _day(date, codec.name)
        self._day = self._pinned or today()
        self._special: dict[str, Any] = dict(codec.tokenizer.special_tokens_map)
        self._template, self._names = _compiled(codec)
        self._check(codec)

    def written(self, turns: Sequence[Turn], *, opened: bool = True) -> str:
        """The text of a conversation; `opened` by a generation prompt. Raises ConfigError, with the roles."""
        return self._on(self._day, self._pinned is not None, turns, opened=opened)

    def date_in(self, turns: Sequence[Turn]) -> str | None:
        """The day that a conversation's text tells, YYYY-MM-DD; OWN_DATE where the template has a fixed one, which
        ?date= would replace; None where it tells none. Raises UnreadArgument for a date that it never reads."""
        other = timedelta(days=397 if self._day.year < 9000 else -397)  # another day, month and year
        days = self._day, self._day + other
        for told in (self._pinned is not None, True):
            if len({self._on(day, told, turns) for day in days}) > 1:
                return self._day.isoformat() if told == (self._pinned is not None) else OWN_DATE
        if self._pinned is not None:
            raise UnreadArgument(f"the chat template of {self.name} never reads ?date: it writes no date; leave it out")
        return None

    def _on(self, day: date, told: bool, turns: Sequence[Turn], *, opened: bool = True) -> str:
        """told: whether the day is a person's wish, which a template takes as date_string."""
        clock: dict[str, Any] = {"strftime_now": datetime.combine(day, time()).strftime}
        if told:
            clock["date_string"] = day.strftime("%d %b %Y")
        try:
            return self._template.render(
                messages=[turn._asdict() for turn in turns],
                tools=None,
                documents=None,
                add_generation_prompt=opened,
                **(self._special | self._arguments | clock),
            )
        except (TemplateError, *BROKEN) as error:
            roles = ", ".join(turn.role for turn in turns)
            raise ConfigError(
                f"the chat template of {self.name} cannot be rendered for turns of {roles}: {first_line(error)}"
            ) from error

    def _check(self, codec: Codec) -> None:
        if not self._arguments:
            return
        readable = self._names - _SET - self._special.keys() - {"date_string"}
        for key in self._arguments:
            if key == "date_string" or key in _SET or key in self._special:
                fix = "give ?date=YYYY-MM-DD" if key == "date_string" else "leave it out"
                raise ConfigError(f"{self.name}: the renderer itself sets {key!r} of a chat template; {fix}")
            if key not in readable:
                told = ", ".join(sorted(readable)) or "no further name"
                raise UnreadArgument(f"the chat template of {self.name} never reads {key!r:.60}; it reads {told:.400}")
        words = json.dumps(self._arguments, ensure_ascii=False).replace('\\"', '"')
        whole_text(words, f"{self.name}: arguments")
        if written := [codec.tokens[i] for i in sorted(codec.control_ids) if codec.tokens[i] in words]:
            raise ConfigError(
                f"{self.name}: arguments of the chat template hold control tokens {written}; take them out"
            )


def today() -> date:
    """The day by this machine's clock and time zone."""
    return datetime.now().date()


def _day(text: str, name: str) -> date:
    try:
        found = date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII) else None
    except ValueError:
        found = None
    if found is None:
        raise ConfigError(f"{name}: date {text!r:.40} is no day; write YYYY-MM-DD")
    return found


def _compiled(codec: Codec) -> tuple[Template, frozenset[str]]:
    """The tokenizer's chat template, and the names it reads but does not set."""
    # private, for the very environment that apply_chat_template renders in; it is lazy, since transformers loads torch
    from transformers.utils.chat_template_utils import _compile_jinja_template

    try:
        source = codec.tokenizer.get_chat_template()
        template: Template = _compile_jinja_template(source)
        parsed = template.environment.parse(source)
        return template, frozenset(meta.find_undeclared_variables(parsed))
    except (TemplateError, *BROKEN) as error:
        raise ConfigError(f"the chat template of {codec.name} cannot be rendered: {first_line(error)}") from error
