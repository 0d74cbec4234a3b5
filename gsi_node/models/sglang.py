"""SGLang's /generate: scores given tokens without losing its prefix cache. Every parameter is set in every request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gsi_node.models.dialects import About, Draw, Ids, no_scores, number, tokens_of
from gsi_node.models.http import Failed
from gsi_node.models.tempered import Token

_NEUTRAL: Mapping[str, Any] = {
    "top_p": 1.0,
    "top_k": -1,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "min_new_tokens": 0,
    "n": 1,
    "stop": None,
    "ignore_eos": False,
    "skip_special_tokens": False,
    "spaces_between_special_tokens": False,
    "no_stop_trim": True,
}


class SGLang:
    """POST /generate, one entry a candidate: with n > 1 all children of a request would share one sampling_seed."""

    kind = "sglang"
    about_path = "/get_model_info"
    path = "/generate"
    spare = 0

    def about(self, answer: Any, model: str) -> About:
        folder = answer.get("tokenizer_path") or answer.get("model_path")
        return About((), None, folder if isinstance(folder, str) else None)

    def sampling(self, model: str, draw: Draw) -> Any:
        shared = {
            **_NEUTRAL,
            "max_new_tokens": draw.limit,
            "temperature": draw.temperature,
            "stop_token_ids": list(draw.stops),
        }
        return {
            "input_ids": [list(draw.ids)] * len(draw.seeds),
            "sampling_params": [{**shared, "sampling_seed": seed} for seed in draw.seeds],
            "return_logprob": True,
            "logprob_start_len": -1,
            "top_logprobs_num": draw.k,
            "stream": False,
        }

    def read_samples(self, answer: Any, model: str, draw: Draw) -> list[tuple[list[Token], bool]]:
        result = []
        for one in _as_many(answer, len(draw.seeds)):
            meta = one["meta_info"]
            tops = meta["output_top_logprobs"]
            own = meta["output_token_logprobs"]
            ids = one.get("output_ids") or [entry[1] for entry in own]
            if not len(ids) == len(own) == len(tops):
                raise Failed(f"{len(ids)} tokens came with {len(own)} log-probabilities")
            listed = [_sglang_listed(top, entry) for top, entry in zip(tops, own, strict=True)]
            result.append((tokens_of(ids, listed), meta["finish_reason"]["type"] == "stop"))
        return result

    def scoring(self, model: str, ids: Ids, rows: Sequence[Ids], k: int) -> Any:
        return {
            "input_ids": [[*ids, *row] for row in rows],
            "sampling_params": {**_NEUTRAL, "max_new_tokens": 0, "temperature": 1.0, "stop_token_ids": []},
            "return_logprob": True,
            "logprob_start_len": len(ids) - 1,
            "top_logprobs_num": k,
            "stream": False,
        }

    def read_scores(self, answer: Any, model: str, ids: Ids, rows: Sequence[Ids]) -> list[list[Token]]:
        result = []
        for one, row in zip(_as_many(answer, len(rows)), rows, strict=True):
            meta = one["meta_info"]
            own, tops = meta.get("input_token_logprobs") or [], meta.get("input_top_logprobs") or []
            if len(own) < len(row) or len(tops) < len(row):
                raise no_scores(f"it returned {len(own)} input log-probabilities for {len(row)} tokens")
            own, tops = own[-len(row) :], tops[-len(row) :]
            if [entry[1] for entry in own] != list(row):
                raise no_scores("its input log-probabilities are those of other tokens")
            result.append(tokens_of(row, [_sglang_listed(top, e) for top, e in zip(tops, own, strict=True)]))
        return result


def _as_many(answer: Any, wanted: int) -> list[Any]:
    found = answer if isinstance(answer, list) else [answer]
    if len(found) != wanted:
        raise Failed(f"it returned {len(found)} answers for {wanted}")
    return found


def _sglang_listed(top: Any, own: Sequence[Any]) -> dict[int, float]:
    return {int(entry[1]): number(entry[0]) for entry in (*(top or ()), own)}
