"""Whether a model thinks before it answers, read off its tokenizer and the prompt that its template writes.

Thinking stands between two tokens of its own. A model that has them thinks, unless its chat template closes the block
in the prompt, as Qwen3's does under enable_thinking=false. Only tokens count, never a text that spells their names.
"""

from __future__ import annotations

from dataclasses import dataclass

from gsi_node.text.codec import Codec
from gsi_node.types import Ids, Thinking


@dataclass(frozen=True, slots=True)
class ThinkingFamily:
    """The tokens that open and close the block, and the text that closes it by force."""

    opens: str
    closes: str
    closing: str


FAMILIES = (
    ThinkingFamily("<think>", "</think>", "\n</think>\n\n"),  # Qwen3, DeepSeek-R1, SmolLM3 …
    ThinkingFamily("[THINK]", "[/THINK]", "[/THINK]"),  # Magistral
)
"""In the order in which a tokenizer is tried."""


def thinking_in(codec: Codec, before_response: Ids, *, chat: bool) -> Thinking | None:
    """How a model thinks; None for one that does not. before_response: what its prompts have behind the problem.

    chat: whether that is of a chat template. A completion prompt makes a model think by opening the block.
    """
    ids = {codec.tokens[i]: i for i in codec.control_ids}
    family = next((one for one in FAMILIES if one.opens in ids and one.closes in ids), None)
    if family is None:
        return None
    thinking = Thinking(ids[family.opens], ids[family.closes], False, codec.encode_marked(family.closing))
    marks = [i for i in before_response if i in (thinking.open_id, thinking.close_id)]
    if marks[-1:] == [thinking.close_id] or not (marks or chat):
        return None
    return Thinking(thinking.open_id, thinking.close_id, bool(marks), thinking.closing)
