"""Endless training batches, made on the fly from the train split."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from random import Random

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from gsi_node.pocket.world.problems import problems

IGNORED = -100
POOL = 6000
"""Problems drawn at a time; batches of similar length are cut from them."""

TokenRow = tuple[list[int], list[int]]
"""Token ids, and the label of each (IGNORED where there is none)."""


@dataclass(frozen=True, slots=True)
class StreamPlace:
    """Where the stream stands: the pool, and the next batch in it."""

    pool: int
    batch: int


def collate(rows: list[TokenRow], pad: int) -> tuple[Tensor, Tensor]:
    """Right-padded ids and labels, both [rows, longest]."""
    width = max(len(ids) for ids, _ in rows)
    ids = torch.full((len(rows), width), pad)
    labels = torch.full((len(rows), width), IGNORED)
    for place, (row, marks) in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row)
        labels[place, : len(marks)] = torch.tensor(marks)
    return ids, labels


def prompt_ids(tokenizer: PreTrainedTokenizerFast, questions: list[str]) -> list[list[int]]:
    """`<bos><user>question<assistant>` for each question; text in a question never becomes a control token."""
    bos, user, assistant = (int(tokenizer.vocab[token]) for token in ("<bos>", "<user>", "<assistant>"))
    encoded = tokenizer(questions, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return [[bos, user, *ids, assistant] for ids in encoded]


def cut(rows: list[TokenRow], tokens: int, rng: Random) -> list[list[TokenRow]]:
    """Batches of rows of similar length, each of at most about `tokens` tokens with padding, in random order."""
    ordered = sorted(rows, key=lambda row: len(row[0]))
    batches: list[list[TokenRow]] = []
    current: list[TokenRow] = []
    for row in ordered:
        if current and len(row[0]) * (len(current) + 1) > tokens:
            batches.append(current)
            current = []
        current.append(row)
    batches.append(current)
    rng.shuffle(batches)
    return batches


class BatchStream:
    """Batches of the train split for one seed; restarting at a `StreamPlace` gives the batches of never stopping."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        seed: int,
        tokens: int,
        place: StreamPlace = StreamPlace(0, 0),
        pool: int = POOL,
    ) -> None:
        """`tokens` a batch (with padding), `pool` problems drawn at a time."""
        self._tokenizer, self._seed, self._tokens, self._size = tokenizer, seed, tokens, pool
        self._pool, self._batch = place.pool, place.batch
        self._batches = self._draw()

    @property
    def place(self) -> StreamPlace:
        """Where the next batch stands."""
        return StreamPlace(self._pool, self._batch)

    def _draw(self) -> list[list[TokenRow]]:
        seed = 1_000_000 * (self._seed + 1) + self._pool
        drawn = list(islice(problems("train", seed, None), self._size))
        prompts = prompt_ids(self._tokenizer, [item.problem for item in drawn])
        answers = self._tokenizer(["\n\n".join(item.solution) for item in drawn], add_special_tokens=False)["input_ids"]
        end = self._tokenizer.eos_token_id
        rows = [
            (prompt + answer + [end], [IGNORED] * len(prompt) + answer + [end])
            for prompt, answer in zip(prompts, answers, strict=True)
        ]
        return cut(rows, self._tokens, Random(f"batches {seed}"))

    def next(self) -> tuple[Tensor, Tensor]:
        """Ids and labels of the next batch."""
        if self._batch == len(self._batches):
            self._pool, self._batch = self._pool + 1, 0
            self._batches = self._draw()
        rows = self._batches[self._batch]
        self._batch += 1
        return collate(rows, self._tokenizer.pad_token_id)
