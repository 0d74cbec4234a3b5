"""A chat template rendered around texts: what it writes before, between and after them, and what it makes of each.

Encoding a rendered text would let "<|im_start|>" in it open a turn. So the template is rendered with placeholders and
cut at them; its own pieces are encoded with control tokens, and the texts as plain text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

from gsi_node.errors import ConfigError
from gsi_node.text.chat_template import ChatTemplate
from gsi_node.text.codec import Codec
from gsi_node.types import Ids, Turn

_PLACE = "GSITEXT{}7F3A"
_PLACES = re.compile(r"GSITEXT(\d+)7F3A")


@dataclass(frozen=True, slots=True)
class Frame:
    """What a template writes around the texts of turns: pieces[0], the text of turn order[0], pieces[1] …"""

    pieces: tuple[str, ...]
    order: tuple[int, ...]

    def filled(self, texts: Sequence[str]) -> str:
        return self.pieces[0] + "".join(texts[i] + piece for i, piece in zip(self.order, self.pieces[1:], strict=True))


class Chat:
    """A chat template as token ids, with a generation prompt after the last turn."""

    def __init__(self, codec: Codec, template: ChatTemplate) -> None:
        self.template = template
        self._codec = codec
        self._frames = lru_cache(64)(self._frame)
        names = [codec.tokens[i] for i in codec.control_ids]
        self._edges = {edge for name in names for edge in (name[:1], name[-1:])}

    def ids(self, turns: Sequence[Turn]) -> tuple[Ids, str, Ids]:
        """Token ids before the last turn's text, that text as the template writes it, and token ids after it.

        Raises ConfigError, with the model's name, where the template refuses the roles, writes a text not once, or
        writes around some texts what it does not write around others.
        """
        last = len(turns) - 1
        placed = [Turn(turn.role, _PLACE.format(i)) for i, turn in enumerate(turns)]
        for i, turn in enumerate(turns[:last]):
            if not turn.content.strip():  # a template may leave out a system turn that says nothing
                placed[i] = turn
        while True:
            frame = self._frames(tuple(placed))
            texts, odd = self._texts(frame, placed, turns)
            if odd is None:
                break
            if odd == last or placed[odd] == turns[odd] or self._edges.intersection(turns[odd].content):
                raise ConfigError(
                    f"the chat template of {self._codec.name} writes something else around the {turns[odd].role} turn "
                    f"{turns[odd].content!r:.80} than around other texts, so that its control tokens cannot be told "
                    "from the text; change that text, or write a completion prompt (template=…)"
                )
            placed[odd] = turns[odd]  # a switch such as "/no_think": no part of a control token is in it
        encode = self._codec.encode_marked
        ids = [encode(frame.pieces[0])]
        for i, piece in zip(frame.order, frame.pieces[1:], strict=True):
            ids += [() if i == last else self._codec.encode(texts[i]), encode(piece)]
        at = 2 * frame.order.index(last) + 1
        return tuple(chain(*ids[:at])), texts[last], tuple(chain(*ids[at:]))

    def _frame(self, placed: tuple[Turn, ...]) -> Frame:
        text = self.template.written(placed)
        pieces, order = _PLACES.split(text)[::2], tuple(map(int, _PLACES.findall(text)))
        for i, turn in enumerate(placed):
            times = order.count(i)
            if times != 1 and turn.content == _PLACE.format(i):
                raise ConfigError(
                    f"the chat template of {self._codec.name} writes the text of a {turn.role} turn {times} times "
                    f"instead of once, in a conversation of {', '.join(turn.role for turn in placed)}"
                )
        return Frame(tuple(pieces), order)

    def _texts(self, frame: Frame, placed: Sequence[Turn], turns: Sequence[Turn]) -> tuple[list[str], int | None]:
        """What the template writes of each turn's text: all of it, but for templates that trim it, or drop what an
        assistant thought. And a turn whose text changes what stands around it, if there is one."""
        whole, texts = self.template.written(turns), [turn.content for turn in turns]
        if frame.filled(texts) == whole:
            return texts, None
        places = [turn.content for turn in placed]
        for i in frame.order:
            text = self.template.written([*placed[:i], turns[i], *placed[i + 1 :]])
            start, end = frame.filled(places).split(places[i])
            if len(text) < len(start) + len(end) or not (text.startswith(start) and text.endswith(end)):
                return texts, i
            found = text[len(start) : len(text) - len(end)]
            if self._named(found) - self._named(texts[i]):
                return texts, i
            texts[i] = found
        return texts, None if frame.filled(texts) == whole else len(turns) - 1

    def _named(self, text: str) -> Counter[int]:
        """The control tokens whose names stand in a text."""
        return Counter(i for i in self._codec.encode_marked(text) if i in self._codec.control_ids)
