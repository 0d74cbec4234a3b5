"""A second way to score with vLLM: its /inference/v1/generate is told the ids whose log-probabilities are wanted, and
may read the prefix cache, where `prompt_logprobs` read every prefix anew. In the shape of vLLM 0.32; docs/servers.md
has the bound.

Numbers are those at temperature 1. Below it a token's own id is asked for together with those that the draft's server
listed there (Step.likely): any ids bound log Z, and the likely ones bound it closely.
"""

from __future__ import annotations

import logging
from base64 import b64decode
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy

from gsi_node.cancel import together
from gsi_node.errors import GSIError, InvalidLogProb
from gsi_node.models.servers.dialect import NEUTRAL, agree, answers_for, listing, number, tokens_of
from gsi_node.models.servers.http import Transport
from gsi_node.models.servers.replica import Failed
from gsi_node.models.servers.tempered import TopK, tempered_sum
from gsi_node.types import Ids, Score, Step

PATH = "/inference/v1/generate"
LOOSE = 0.1
"""Nats a step: a row that is known less well is left to `prompt_logprobs`."""
DROPPED_AFTER = 6
"""Batches in a row of which the cache answered no row. One is no sign: one prefix in 16 ends on a cached block."""
_log = logging.getLogger("gsi_node.server")


class ListedRow(NamedTuple):
    """A row's tokens, each with the ids that were asked for. cached: whether the first request had an answer."""

    tokens: list[TopK]
    cached: bool


class IdScorer:
    """Of one model, served as `model`, whose answers may come under `names`. most: ids that may be asked for at a
    token. dropped: why it is used no more, None while it is."""

    def __init__(self, model: str, names: Collection[str], most: int) -> None:
        self._model, self._names, self._most = model, names, most
        self._empty = 0
        self.dropped: str | None = None

    async def scores(
        self, transport: Transport, ids: Ids, steps: Sequence[Step], temperature: float
    ) -> dict[Ids, Score]:
        """log π(row | ids) by the row of each step, in nats under the temperature: of the rows that it can tell within
        LOOSE. Raises BackendError, InvalidLogProb."""
        wanted = {step.token_ids: self._wanted(step, temperature) for step in steps}
        asked = {row: lists for row, lists in wanted.items() if lists}
        if not asked or not ids:
            return {}
        try:
            found = await self.listed(transport, ids, asked)
        except GSIError:
            if self.dropped is None:  # else a replica that came back without it answered
                raise
            return {}
        if found is None:
            return {}
        told = {row: self._under(transport, one.tokens, temperature) for row, one in zip(asked, found, strict=True)}
        return {row: score for row, score in told.items() if score.error <= LOOSE}

    async def listed(self, transport: Transport, ids: Ids, rows: Mapping[Ids, Sequence[Ids]]) -> list[ListedRow] | None:
        """The numbers of each row's ids, one list a token, a request a row; None where there are none, by which it is
        dropped. Raises BackendError."""
        deadline = transport.deadline()

        async def one(row: Ids, wanted: Sequence[Ids]) -> ListedRow | None:
            what = f"scoring a step of {len(row)} tokens after {len(ids)} by ids"
            entries = len(ids) + sum(map(len, wanted)) + len(row)
            for cached in (True, False):
                body = self._body(ids, row, wanted, cached=cached)
                read = partial(self._read, ids=ids, row=row, wanted=wanted)
                tokens = await transport.ask(PATH, body, read, what, entries=entries, deadline=deadline, root=True)
                if tokens is not None:
                    return ListedRow(tokens, cached)
            return None

        found = await together(one(row, wanted) for row, wanted in rows.items())
        told = [row for row in found if row is not None]
        self._empty = 0 if any(row.cached for row in told) else self._empty + 1
        if len(told) < len(found):
            self.drop(transport, "it gave no numbers even without its prefix cache")
        elif self._empty == DROPPED_AFTER:
            self.drop(transport, f"its prefix cache kept it from answering {DROPPED_AFTER} times in a row")
        return told if len(told) == len(found) else None

    def asked(self, row: Ids, likely: Sequence[Ids]) -> list[Ids]:
        """What to ask for at each token: its own id and the likely ones, as many as may be asked for."""
        return [tuple(dict.fromkeys((i, *ids)))[: self._most] for i, ids in zip(row, likely, strict=True)]

    def drop(self, transport: Transport, why: str) -> None:
        """Use it no more."""
        if self.dropped is not None:
            return
        self.dropped = why
        _log.warning("%s: %s: %s; given steps are scored by prompt_logprobs from here on", transport.name, PATH, why)

    def _wanted(self, step: Step, temperature: float) -> list[Ids]:
        """The ids to ask for at each token of a step; none where they are not known."""
        if temperature == 1.0:
            return [(i,) for i in step.token_ids]
        if len(step.likely) != len(step.token_ids):
            return []
        return self.asked(step.token_ids, step.likely)

    def _under(self, transport: Transport, tokens: Sequence[TopK], temperature: float) -> Score:
        try:
            return tempered_sum(tokens, None, temperature)
        except InvalidLogProb as error:
            raise InvalidLogProb(f"{transport.name}: {PATH}: {error}; start it without --enable-scale-out") from error

    def _body(self, ids: Ids, row: Ids, wanted: Sequence[Ids], *, cached: bool) -> Any:
        return {
            "model": self._model,
            "token_ids": [*ids, *row],
            "stream": False,
            "return_token_ids": True,
            "sampling_params": {
                **NEUTRAL,
                "n": 1,
                "seed": 0,
                "max_tokens": 1,
                "min_tokens": 0,
                "temperature": 1.0,
                "stop_token_ids": [],
                "detokenize": False,
                "skip_reading_prefix_cache": not cached,
                "prompt_logprob_start": len(ids) - 1,
                "prompt_logprob_token_ids": [list(each) for each in wanted],
            },
        }

    def _read(self, answer: Any, ids: Ids, row: Ids, wanted: Sequence[Ids]) -> list[TopK] | None:
        answers_for(answer, self._names)
        if (said := answer.get("prompt_token_ids")) is not None:
            agree("prompt_token_ids", said, (*ids, *row))
        coded = answer["prompt_token_id_logprobs"]
        if coded is None:
            return None
        values = matrix(coded, len(row), max(map(len, wanted)))
        lists = [listing(zip(each, map(number, told), strict=False)) for each, told in zip(wanted, values, strict=True)]
        return tokens_of(row, lists)


def matrix(coded: str, rows: int, columns: int) -> list[list[float]]:
    """The numbers of an .npy file in base64. Failed unless it holds float32 of that shape and nothing else."""
    file = BytesIO(b64decode(coded, validate=True))
    if (version := npy.read_magic(file)) != (1, 0):
        raise Failed(f"it returned log-probabilities in version {version} of the .npy format")
    shape, by_column, dtype = npy.read_array_header_1_0(file)
    if by_column or shape != (rows, columns) or dtype != np.float32:
        raise Failed(f"it returned log-probabilities of shape {shape} and type {dtype} for {rows} × {columns}")
    if len(data := file.read()) != 4 * rows * columns:
        raise Failed(f"it returned {len(data)} bytes of log-probabilities for {4 * rows * columns}")
    values: list[list[float]] = np.frombuffer(data, np.float32).reshape(shape).tolist()
    return values
