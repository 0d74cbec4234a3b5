"""SGLang's /generate: scores given tokens without losing its prefix cache. Every parameter is set in every request."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gsi_node.models.servers.dialect import (
    NEUTRAL,
    Card,
    Drawn,
    DrawRequest,
    agree,
    listing,
    no_scores,
    number,
    token_id,
    tokens_of,
)
from gsi_node.models.servers.replica import Failed
from gsi_node.models.servers.tempered import TopK
from gsi_node.types import Ids

_PLAIN: Mapping[str, Any] = {**NEUTRAL, "min_new_tokens": 0, "n": 1, "no_stop_trim": True}


class SGLang:
    """POST /generate, one entry a candidate: with n > 1 all children of a request would share one sampling_seed."""

    kind = "sglang"
    example = "sglang:http://HOST:30000?tokenizer=/models/base"
    about_paths: tuple[str, ...] = ("/model_info", "/get_model_info")  # the older name is going away
    path = "/generate"
    spare = 0
    by_ids = False
    named = False

    def about(self, answer: Any) -> tuple[Card, ...]:
        path, tokenizer = (answer.get(key) for key in ("model_path", "tokenizer_path"))
        if not isinstance(path, str):
            raise Failed(f"it says that its model_path is {path!r:.60}")
        folder = tokenizer if isinstance(tokenizer, str) and tokenizer else path
        return tuple(Card(name, None, folder) for name in dict.fromkeys((path, path.rstrip("/").rpartition("/")[2])))

    def sampling(self, model: str, draw: DrawRequest) -> Any:
        shared = {
            **_PLAIN,
            "max_new_tokens": draw.limit,
            "temperature": draw.temperature,
            "stop_token_ids": list(draw.stops),
            "ignore_eos": draw.past_eos,
        }
        return {
            "input_ids": [list(draw.ids)] * len(draw.seeds),
            "sampling_params": [{**shared, "sampling_seed": seed} for seed in draw.seeds],
            "return_logprob": True,
            "logprob_start_len": -1,
            "top_logprobs_num": draw.k,
            "stream": False,
        }

    def read_samples(self, answer: Any, names: Collection[str], draw: DrawRequest) -> list[Drawn]:
        return [_drawn(one) for one in _as_many(answer, [draw.ids] * len(draw.seeds))]

    def rows(self, draw: DrawRequest) -> list[DrawRequest]:
        return [replace(draw, seeds=[seed]) for seed in draw.seeds]

    def read_event(self, event: Any, names: Collection[str], row: DrawRequest, drawn: Drawn) -> Drawn:
        (one,) = _as_many(event, [row.ids])
        return _drawn(one, drawn.tokens)

    def scoring(self, model: str, ids: Ids, rows: Sequence[Ids], k: int) -> Any:
        return {
            "input_ids": [[*ids, *row] for row in rows],
            "sampling_params": {**_PLAIN, "max_new_tokens": 0, "temperature": 1.0, "stop_token_ids": []},
            "return_logprob": True,
            "logprob_start_len": len(ids) - 1,
            "top_logprobs_num": k,
            "stream": False,
        }

    def read_scores(self, answer: Any, names: Collection[str], ids: Ids, rows: Sequence[Ids]) -> list[list[TopK]]:
        result = []
        for one, row in zip(_as_many(answer, [(*ids, *row) for row in rows]), rows, strict=True):
            meta = one["meta_info"]
            own, tops = meta.get("input_token_logprobs") or [], meta.get("input_top_logprobs") or []
            if len(own) < len(row) or len(tops) < len(row):
                raise no_scores(f"it returned {len(own)} input log-probabilities for {len(row)} tokens")
            own, before, tops = own[-len(row) :], own[: -len(row)], tops[-len(row) :]
            if [entry[1] for entry in own] != list(row):
                raise no_scores("its input log-probabilities are those of other tokens")
            agree("input_token_logprobs", [entry[1] for entry in before], ids[len(ids) - len(before) :])
            result.append(tokens_of(row, [_sglang_listed(top, e) for top, e in zip(tops, own, strict=True)]))
        return result


def _as_many(answer: Any, prompts: Sequence[Ids]) -> list[Any]:
    """The answers, one a prompt, each of which must have read as many tokens as its prompt has, where it says so."""
    found = answer if isinstance(answer, list) else [answer]
    if len(found) != len(prompts):
        raise Failed(f"it returned {len(found)} answers for {len(prompts)}")
    for one, prompt in zip(found, prompts, strict=True):
        read = one["meta_info"].get("prompt_tokens")
        if read is not None and read != len(prompt):
            raise Failed(f"it read {read!r:.20} tokens where {len(prompt)} were sent", again=False)
    return found


def _drawn(one: Any, before: list[TopK] | None = None) -> Drawn:
    """The row of an answer, or of an event, which lists its tokens from the first or from those known `before` on."""
    meta = one["meta_info"]
    tops, own, ended = meta["output_top_logprobs"], meta["output_token_logprobs"], meta["finish_reason"] or {}
    ids = [token_id(entry[1]) for entry in own]
    if said := one.get("output_ids"):
        agree("output_ids", said, ids if before is None else ids[-len(said) :])
    if len(ids) != len(tops):
        raise Failed(f"{len(ids)} tokens came with {len(tops)} lists of log-probabilities")
    listed = [_sglang_listed(top, entry) for top, entry in zip(tops, own, strict=True)]
    why, tokens = ended.get("matched"), tokens_of(ids, listed)
    if before is not None:
        known = meta.get("completion_tokens", len(ids)) - len(ids)
        if not 0 <= known <= len(before):
            raise Failed(f"its event begins at token {known} of a step of which {len(before)} are known")
        tokens = [*before[:known], *tokens]
    return Drawn(tokens, ended.get("type"), why if isinstance(why, str) else None)


def _sglang_listed(top: Any, own: Sequence[Any]) -> dict[int, float]:
    return listing((token_id(entry[1]), number(entry[0])) for entry in (*(top or ()), own))
