"""vLLM's /v1/completions, and servers that speak it. Every parameter is set in every request."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gsi_node.errors import BackendError, InvalidLogProb
from gsi_node.models.servers.dialect import (
    NEUTRAL,
    Card,
    Drawn,
    DrawRequest,
    agree,
    answers_for,
    listing,
    no_scores,
    number,
    token_id,
    tokens_of,
    written_id,
)
from gsi_node.models.servers.replica import Failed
from gsi_node.models.servers.tempered import TopK
from gsi_node.types import Ids

_NAME = "token_id:"
_PLAIN: Mapping[str, Any] = {
    **NEUTRAL,
    "length_penalty": 1.0,
    "logit_bias": None,
    "min_tokens": 0,
    "include_stop_str_in_output": False,
    "add_special_tokens": False,
    "echo": False,
    "stream": False,
    "return_token_ids": True,
    "return_tokens_as_token_ids": True,
}


class VLLM:
    """POST /v1/completions with prompts of token ids. Child i of a request with n > 1 uses seed + i."""

    kind = "server"
    example = "server:http://HOST:8000/v1#MODEL?tokenizer=/models/base"
    about_paths: tuple[str, ...] = ("/models",)
    path = "/completions"
    named = True
    spare = 1  # prompt_logprobs need room for one generated token
    by_ids = True

    def about(self, answer: Any) -> tuple[Card, ...]:
        return tuple(map(_card, answer["data"]))

    def sampling(self, model: str, draw: DrawRequest) -> Any:
        return {
            **_PLAIN,
            "model": model,
            "prompt": list(draw.ids),
            "n": len(draw.seeds),
            "seed": draw.seeds[0],
            "max_tokens": draw.limit,
            "temperature": draw.temperature,
            "stop_token_ids": list(draw.stops),
            "ignore_eos": draw.past_eos,
            "logprobs": draw.k,
        }

    def read_samples(self, answer: Any, names: Collection[str], draw: DrawRequest) -> list[Drawn]:
        return [
            _drawn(choice, _openai_tokens(choice)) for choice in _choices(answer, names, [draw.ids] * len(draw.seeds))
        ]

    def rows(self, draw: DrawRequest) -> list[DrawRequest]:
        return [replace(draw, seeds=[draw.seeds[0] + i]) for i in range(len(draw.seeds))]

    def read_event(self, event: Any, names: Collection[str], row: DrawRequest, drawn: Drawn) -> Drawn:
        if not event["choices"]:  # of usage alone
            return drawn
        (choice,) = _choices(event, names, [row.ids])
        tokens = _openai_tokens(choice) if choice.get("token_ids") != [] else []
        return _drawn(choice, [*drawn.tokens, *tokens])

    def scoring(self, model: str, ids: Ids, rows: Sequence[Ids], k: int) -> Any:
        return {
            **_PLAIN,
            "model": model,
            "prompt": [[*ids, *row] for row in rows],
            "n": 1,
            "seed": None,  # one kept by seed, whose prompt comes in pieces, ends vLLM 0.32 on a CPU
            "max_tokens": 1,
            "temperature": 1.0,
            "stop_token_ids": [],
            "prompt_logprobs": k,
        }

    def read_scores(self, answer: Any, names: Collection[str], ids: Ids, rows: Sequence[Ids]) -> list[list[TopK]]:
        choices = _choices(answer, names, [(*ids, *row) for row in rows])
        result = []
        for choice, row in zip(choices, rows, strict=True):
            entries = choice.get("prompt_logprobs")
            if not isinstance(entries, list):
                raise no_scores("it returned no prompt_logprobs")
            if len(entries) != len(ids) + len(row):
                raise no_scores(f"it returned {len(entries)} prompt_logprobs for {len(ids) + len(row)} tokens")
            for place in range(1, len(ids)):  # of the first token nothing is known
                if str(ids[place]) not in entries[place]:
                    raise Failed(f"it returned no log-probability of token {ids[place]} of the prompt", InvalidLogProb)
            listed = [
                listing((_id(i), number(e["logprob"])) for i, e in entry.items()) for entry in entries[len(ids) :]
            ]
            result.append(tokens_of(row, listed))
        return result


def _card(card: Any) -> Card:
    name, context, folder, parent = (card.get(key) for key in ("id", "max_model_len", "root", "parent"))
    if not isinstance(name, str):
        raise Failed(f"it lists a model named {name!r:.60}")
    known = isinstance(context, int) and not isinstance(context, bool) and context > 0
    texts = (text if isinstance(text, str) else None for text in (folder, parent))
    return Card(name, context if known else None, *texts)


def _choices(answer: Any, names: Collection[str], prompts: Sequence[Ids]) -> list[Any]:
    """The choices in order, one a prompt, each of which must say that it answers its prompt, where it says so."""
    answers_for(answer, names)
    choices = sorted(answer["choices"], key=lambda choice: token_id(choice["index"]))
    if [choice["index"] for choice in choices] != list(range(len(prompts))):
        raise Failed(f"it returned {len(choices)} choices for {len(prompts)}", fix="Does this server honour n?")
    for choice, prompt in zip(choices, prompts, strict=True):
        if (said := choice.get("prompt_token_ids")) is not None:
            agree("prompt_token_ids", said, prompt)
    return choices


def _drawn(choice: Any, tokens: list[TopK]) -> Drawn:
    why, ended = choice.get("stop_reason"), choice["finish_reason"]
    if ended == "stop" and isinstance(why, int) and tokens and tokens[-1].id != why:
        raise Failed(f"it contradicts itself: it stopped at id {why:d}, and its last one is {tokens[-1].id}")
    return Drawn(tokens, ended, why if isinstance(why, str) else None)


def _openai_tokens(choice: Any) -> list[TopK]:
    """The tokens of a choice: vLLM's arrays, or the chat-like `content` list of other servers."""
    logs = choice.get("logprobs")
    if not isinstance(logs, dict):
        raise Failed("it returned no log-probabilities of what it sampled", InvalidLogProb)
    said = choice.get("token_ids")
    content = logs.get("content")
    if isinstance(content, list):
        ids = [token_id(entry["id"]) for entry in content]
        names = [entry.get("token") for entry in content]
        listed = [
            listing((token_id(e["id"]), number(e["logprob"])) for e in (*entry.get("top_logprobs", ()), entry))
            for entry in content
        ]
    else:
        names, own, tops = logs["tokens"], logs["token_logprobs"], logs.get("top_logprobs") or []
        ids = [_id(name, _NAME) for name in names] if said is None else [token_id(i) for i in said]
        if not len(ids) == len(own) == len(tops):
            raise Failed(f"{len(ids)} tokens came with {len(own)} log-probabilities", InvalidLogProb)
        listed = [
            listing((*((_id(name, _NAME), number(v)) for name, v in top.items()), (i, number(value))))
            for i, value, top in zip(ids, own, tops, strict=True)
        ]
    if said is not None:
        agree("token_ids", said, ids)
    written = [written_id(name, _NAME) for name in names]
    if any(i is not None for i in written):  # else a server that writes tokens as text
        agree("tokens", [-1 if i is None else i for i in written], ids)
    return tokens_of(ids, listed)


def _id(name: Any, before: str = "") -> int:
    """The id in "123", or in "token_id:123"."""
    found = written_id(name, before)
    if found is None:
        raise Failed(
            "it returned tokens as text, not as ids",
            BackendError,
            fix="Use a server that knows return_tokens_as_token_ids (vLLM does): decoded text is ambiguous",
            again=False,
        )
    return found
