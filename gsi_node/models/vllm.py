"""vLLM's /v1/completions, and servers that speak it. Every parameter is set in every request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gsi_node.errors import BackendError, InvalidLogProb, SpecError
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
    "length_penalty": 1.0,
    "logit_bias": None,
    "min_tokens": 0,
    "stop": None,
    "ignore_eos": False,
    "include_stop_str_in_output": False,
    "skip_special_tokens": False,
    "spaces_between_special_tokens": False,
    "add_special_tokens": False,
    "echo": False,
    "stream": False,
    "return_token_ids": True,
    "return_tokens_as_token_ids": True,
}


class VLLM:
    """POST /v1/completions with prompts of token ids. Child i of a request with n > 1 uses seed + i."""

    kind = "server"
    about_path = "/models"
    path = "/completions"
    spare = 1  # prompt_logprobs need room for one generated token

    def about(self, answer: Any, model: str) -> About:
        cards = {str(card["id"]): card for card in answer["data"]}
        card: Any = cards.get(model) or next(iter(cards.values()), {})
        context, folder = card.get("max_model_len"), card.get("root")
        return About(tuple(cards), int(context) if context else None, folder if isinstance(folder, str) else None)

    def sampling(self, model: str, draw: Draw) -> Any:
        return {
            **_NEUTRAL,
            "model": model,
            "prompt": list(draw.ids),
            "n": len(draw.seeds),
            "seed": draw.seeds[0],
            "max_tokens": draw.limit,
            "temperature": draw.temperature,
            "stop_token_ids": list(draw.stops),
            "logprobs": draw.k,
        }

    def read_samples(self, answer: Any, model: str, draw: Draw) -> list[tuple[list[Token], bool]]:
        choices = _choices(answer, model, len(draw.seeds))
        return [(_openai_tokens(choice), choice["finish_reason"] == "stop") for choice in choices]

    def scoring(self, model: str, ids: Ids, rows: Sequence[Ids], k: int) -> Any:
        return {
            **_NEUTRAL,
            "model": model,
            "prompt": [[*ids, *row] for row in rows],
            "n": 1,
            "seed": 0,
            "max_tokens": 1,
            "temperature": 1.0,
            "stop_token_ids": [],
            "prompt_logprobs": k,
        }

    def read_scores(self, answer: Any, model: str, ids: Ids, rows: Sequence[Ids]) -> list[list[Token]]:
        choices = _choices(answer, model, len(rows))
        result = []
        for choice, row in zip(choices, rows, strict=True):
            entries = choice.get("prompt_logprobs")
            if not isinstance(entries, list):
                raise no_scores("it returned no prompt_logprobs")
            if len(entries) != len(ids) + len(row):
                raise no_scores(f"it returned {len(entries)} prompt_logprobs for {len(ids) + len(row)} tokens")
            listed = [{int(i): number(e["logprob"]) for i, e in entry.items()} for entry in entries[len(ids) :]]
            result.append(tokens_of(row, listed))
        return result


def _choices(answer: Any, model: str, wanted: int) -> list[Any]:
    named = answer.get("model")
    if isinstance(named, str) and named != model:
        raise Failed(
            f"model {named!r} answered for {model!r}", SpecError, fix="Name the served model in the spec", again=False
        )
    choices = sorted(answer["choices"], key=lambda choice: int(choice["index"]))
    if [choice["index"] for choice in choices] != list(range(wanted)):
        raise Failed(f"it returned {len(choices)} choices for {wanted}", fix="Does this server honour n?")
    return choices


def _openai_tokens(choice: Any) -> list[Token]:
    """The tokens of a choice: vLLM's arrays, or the chat-like `content` list of other servers."""
    logs = choice.get("logprobs")
    if not isinstance(logs, dict):
        raise Failed("it returned no log-probabilities of what it sampled", InvalidLogProb)
    content = logs.get("content")
    if isinstance(content, list):
        ids = [int(entry["id"]) for entry in content]
        listed = [{int(e["id"]): number(e["logprob"]) for e in (*x.get("top_logprobs", ()), x)} for x in content]
        return tokens_of(ids, listed)
    names, own, tops = logs["tokens"], logs["token_logprobs"], logs.get("top_logprobs") or []
    ids = choice.get("token_ids")
    ids = [_id(name) for name in names] if ids is None else [int(i) for i in ids]
    if not len(ids) == len(own) == len(tops):
        raise Failed(f"{len(ids)} tokens came with {len(own)} log-probabilities", InvalidLogProb)
    listed = [
        {**{_id(name): number(v) for name, v in top.items()}, i: number(value)}
        for i, value, top in zip(ids, own, tops, strict=True)
    ]
    return tokens_of(ids, listed)


def _id(name: str) -> int:
    """The id in "token_id:123"."""
    head, colon, number = name.rpartition(":")
    if head != "token_id" or not colon:
        raise Failed(
            "it returned tokens as text, not as ids",
            BackendError,
            fix="Use a server that knows return_tokens_as_token_ids (vLLM does): decoded text is ambiguous",
            again=False,
        )
    return int(number)
