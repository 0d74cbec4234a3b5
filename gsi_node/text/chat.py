"""A chat template rendered around texts: what it writes before, between and after them, and what it makes of each.

Encoding a rendered text would let "<|im_start|>" in it open a turn. So the template is rendered with placeholders and
cut at them; its own pieces are encoded with control tokens, and the texts as plain text.
"""

from __future__ import annotations

import re
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

    def ids(self, turns: Sequence[Turn]) -> tuple[Ids, Ids, Ids]:
        """Token ids before the last turn's text, of that text, and after it; decoded, they say what the template does.

        Raises ConfigError, with the model's name, where the template refuses the roles, writes a text not once, or
        writes around some texts what it does not write around others.
        """
        frame = self._frames(_placed(turns))
        texts, encode = self._texts(frame, turns), self._codec.encode_marked
        ids = [encode(frame.pieces[0])]
        for i, piece in zip(frame.order, frame.pieces[1:], strict=True):
            ids += [self._codec.encode(texts[i]), encode(piece)]
        at = 2 * frame.order.index(len(turns) - 1) + 1
        return tuple(chain(*ids[:at])), ids[at], tuple(chain(*ids[at + 1 :]))

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

    def _texts(self, frame: Frame, turns: Sequence[Turn]) -> list[str]:
        """What the template writes of each turn's text: all of it, but for templates that trim it, or drop what an
        assistant thought."""
        whole, texts = self.template.written(turns), [turn.content for turn in turns]
        if frame.filled(texts) == whole:
            return texts
        placed = _placed(turns)
        for i in frame.order:
            turn, places = turns[i], [turn.content for turn in placed]
            text = self.template.written([*placed[:i], turn, *placed[i + 1 :]])
            start, end = frame.filled(places).split(places[i])
            if len(text) < len(start) + len(end) or not (text.startswith(start) and text.endswith(end)):
                raise self._reacts(turn)
            texts[i] = text[len(start) : len(text) - len(end)]
            if texts[i] not in turn.content and self._codec.control_ids & {*self._codec.encode_marked(texts[i])}:
                raise self._reacts(turn)
        if frame.filled(texts) != whole:
            raise self._reacts(turns[-1])
        return texts

    def _reacts(self, turn: Turn) -> ConfigError:
        return ConfigError(
            f"the chat template of {self._codec.name} writes something else around the {turn.role} turn "
            f"{turn.content!r:.80} than around other texts, so that its control tokens cannot be told from the text; "
            "change that text, or write a completion prompt (template=…)"
        )


def _placed(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """The turns with places for their texts. Blank ones stay: templates may leave out a system turn that says nothing,
    and no control token is in them. The last one's place is needed."""
    last = len(turns) - 1
    return tuple(
        Turn(turn.role, _PLACE.format(i)) if turn.content.strip() or i == last else turn for i, turn in enumerate(turns)
    )
