"""How tests/models/serving.py answers /inference/v1/generate, as vLLM 0.32 does: prompt log-probabilities by ids, null
where its prefix cache reaches beyond the first of them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = tuple[int, ...]


def encoded(values: Any) -> str:
    """An array as .npy in base64."""
    file = BytesIO()
    np.save(file, values)
    return b64encode(file.getvalue()).decode()


@dataclass
class Generating:
    """on: whether it is there; a status in its place. block: tokens of a cached block. most: --max-logprobs. empty: how
    many requests get null whatever they ask. wrong: what becomes of the numbers. cached: prompts of whole blocks that
    it has read. read, kept: tokens that it had to read, and had cached."""

    on: bool = False
    status: int = 404
    block: int = 4
    most: int = 20
    empty: int = 0
    wrong: Callable[[NDArray[np.float32]], Any] = lambda values: values
    cached: set[Ids] = field(default_factory=set)
    read: int = 0
    kept: int = 0
    bodies: list[dict[str, Any]] = field(default_factory=list)

    def refusal(self, body: dict[str, Any]) -> str:
        """Why a request is refused, in vLLM's terms; "" for one that is not."""
        asked = body["sampling_params"]
        lists, start = asked["prompt_logprob_token_ids"], asked["prompt_logprob_start"]
        if start < 0:
            return "prompt_logprob_start must be non-negative."
        if len(lists) != (rows := len(body["token_ids"]) - 1 - start):
            return f"prompt_logprob_token_ids has {len(lists)} rows, but the prompt has {rows} scored rows"
        if (widest := max(map(len, lists))) > self.most:
            return f"Requested {widest} token ids per row, which is greater than max allowed: {self.most}"
        return "n must be 1" if asked["n"] != 1 else ""

    def answer(self, body: dict[str, Any], log_p: NDArray[np.float64]) -> dict[str, Any]:
        """log_p: log p(next | last), a row a token."""
        self.bodies.append(body)
        prompt, asked = tuple(body["token_ids"]), body["sampling_params"]
        start, lists = asked["prompt_logprob_start"], asked["prompt_logprob_token_ids"]
        hit = 0 if asked["skip_reading_prefix_cache"] else self._hit(prompt)
        self.read, self.kept = self.read + len(prompt) - hit, self.kept + hit
        self.cached |= {prompt[:end] for end in range(self.block, len(prompt) + 1, self.block)}
        scores = None
        if hit <= start and not self.empty:
            values = np.full((len(lists), max(map(len, lists))), -np.inf, np.float32)
            for row, (last, ids) in enumerate(zip(prompt[start:], lists, strict=False)):
                values[row, : len(ids)] = log_p[last, ids]
            scores = self.wrong(values)
            scores = scores if scores is None or isinstance(scores, str) else encoded(scores)
        self.empty = max(0, self.empty - 1)
        return {
            "model": body["model"],
            "choices": [{"index": 0, "finish_reason": "length", "token_ids": [7], "logprobs": None}],
            "prompt_token_id_logprobs": scores,
            "prompt_token_ids": list(prompt) if body["return_token_ids"] else None,
        }

    def _hit(self, prompt: Ids) -> int:
        """Tokens of whole blocks that are cached, never all of a prompt."""
        ends = range(self.block, len(prompt), self.block)
        return max((end for end in ends if prompt[:end] in self.cached), default=0)


def given(log_p: NDArray[np.float64], prompt: Sequence[int], row: Sequence[int]) -> float:
    """log p(row | prompt) at temperature 1, the oracle."""
    return float(sum(log_p[a, b] for a, b in pairwise((prompt[-1], *row))))
