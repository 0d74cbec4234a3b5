"""How tests/models/serving.py answers /v1/chat/completions: a story told by seed and by what was said before."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

TOKEN = 4  # characters


def story(so_far: str, seed: int) -> str:
    """The rest of a response: three sums, some of them wrong, and an answer."""
    dice = random.Random(f"{seed} {so_far}")
    rest = ""
    for place in range(so_far.count("Step"), 3):
        a, b = dice.randint(1, 9), dice.randint(1, 9)
        rest += f"Step {place}: {a} + {b} = {a + b + dice.choice([0, 0, 1])}.\n\n"
    return rest + f"So it is \\boxed{{{dice.randint(1, 9)}}}."


@dataclass
class Chatting:
    """trims: the template takes the blanks off an assistant turn, and the answer writes them anew (`anew`). picky: a
    turn that ends in a blank is refused. goes_on: an assistant turn is continued; else it is ended and a new one
    begins. echoes: the answer begins with the turn that it continues. thought: reasoning before the text. usage:
    whether it is told. ended: a finish_reason instead of the true one."""

    anew: str = "\n\n"
    picky: bool = True
    goes_on: bool = True
    echoes: bool = False
    thought: str = ""
    usage: bool = True
    ended: str = ""
    stop_reason: str | None = None

    def refusal(self, body: dict[str, Any]) -> str:
        """Why a request is refused; "" for one that is not."""
        last = body["messages"][-1]
        if self.picky and last["role"] == "assistant" and last["content"] != last["content"].rstrip():
            return "final assistant content cannot end with trailing whitespace"
        return "stop is not taken here" if body.get("stop") else ""

    def answer(self, body: dict[str, Any], seed: int) -> dict[str, Any]:
        last = body["messages"][-1]
        going = last["role"] == "assistant" and self.goes_on
        begun = last["content"] if going else ""
        text = (self.anew if begun else "") + story(begun, seed)
        whole = text[: TOKEN * body["max_tokens"]]
        words = sum(len(turn["content"]) for turn in body["messages"]) // TOKEN
        heads = 4 * len(body["messages"]) - (4 if going else 0)
        message = {"role": "assistant", "content": (begun if self.echoes else "") + whole}
        if self.thought:
            message["reasoning_content"] = self.thought
        finish = self.ended or ("stop" if whole == text else "length")
        return {
            "choices": [{"index": 0, "message": message, "finish_reason": finish, "stop_reason": self.stop_reason}],
            **({"usage": {"prompt_tokens": words + heads, "completion_tokens": 1}} if self.usage else {}),
        }
