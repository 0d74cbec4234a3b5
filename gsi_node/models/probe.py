"""At start-up: reach a server, and find out what it can do, before a run depends on it.

Checked: the served name, the context length, the tokenizer against the server's own, returned token ids, seeds, and the
scorer against the sampler on the same ids, which also tells whether sampled log-probabilities include the temperature.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from math import fsum
from typing import Any, NamedTuple

from gsi_node.errors import BackendError, ConfigError, LawMismatch, SpecError, VocabularyMismatch
from gsi_node.models.dialects import About
from gsi_node.models.http import Patience, Transport
from gsi_node.models.server import DIALECTS, ServerModel
from gsi_node.models.tempered import Token, tempered_sum
from gsi_node.models.tokens import Ids, Tokens
from gsi_node.types import Key, Prefix, SamplingLaw

_log = logging.getLogger("gsi_node.server")
_TEXT = "Step 1: So the sum is 12+3*45 = 147.\n\nIt's 1/2.\n\n"
_LAW = SamplingLaw(temperature=0.5, max_step_tokens=12)
_ROWS = 8
_TOLERANCE = 0.1  # nats a token: bfloat16 servers differ by hundredths between decoding and prefill


def connect(
    kind: str,
    urls: Sequence[str],
    model: str = "",
    *,
    tokenizer: str | None = None,
    system_prompt: str | None = None,
    use_chat_template: bool = True,
    template: str | None = None,
    messages: Sequence[Mapping[str, str]] = (),
    top_k: int = 20,
    sampled: str = "probe",
    timeout: float = 120.0,
    attempts: int = 9,
    api_key_env: str = "GSI_API_KEY",
) -> ServerModel:
    """The model behind one or more equal servers, probed. Raises BackendUnavailable, SpecError, VocabularyMismatch.

    model: the served name; "" takes the only one. tokenizer: folder or hub name (default: the folder the server names
    of itself). sampled: "raw" or "processed" overrules what the probe finds of the sampler's log-probabilities.
    """
    if kind not in DIALECTS:
        raise SpecError(f"server kind {kind!r} is unknown; known: {', '.join(DIALECTS)}")
    if sampled not in ("probe", "raw", "processed"):
        raise ConfigError(f"sampled is {sampled!r}; write raw, processed, or probe")
    transport = Transport(urls, patience=Patience(timeout=timeout, attempts=attempts), api_key_env=api_key_env)
    dialect = DIALECTS[kind]
    try:
        about = transport.wait(
            transport.ask(
                dialect.about_path, None, lambda answer: dialect.about(answer, model), "asking what it serves"
            )
        )
        model = model or _only(about, transport)
        if about.models and model not in about.models:
            raise SpecError(f"{transport.name} serves no model {model!r}; it serves {', '.join(about.models)}")
        folder = tokenizer or about.folder
        if folder is None:
            raise SpecError(f"{transport.name} does not say where its tokenizer is; add ?tokenizer=FOLDER to the spec")
        tokens = Tokens(
            folder,
            f"{kind}:{transport.name}#{model}",
            system_prompt=system_prompt,
            use_chat_template=use_chat_template,
            template=template,
            messages=messages,
        )
        found = ServerModel(transport, dialect, tokens, model=model, top_k=top_k, context=about.context)
        probe(found)
    except BaseException:
        transport.close()
        raise
    if sampled != "probe":
        found.reported = "raw" if sampled == "raw" else "processed"
    return found


def probe(model: ServerModel) -> None:
    """Fill in what the server can do, and `findings`; the findings go to the log as one message."""
    model.findings = tuple(model.transport.wait(_probe(model)))
    _log.info("%s: %s", model.name, "; ".join(model.findings))


async def _probe(model: ServerModel) -> list[str]:
    findings = [f"model {model.model}, {model.context or 'unknown'} tokens of context", await _vocabulary(model)]
    tokens = model.tokens
    findings.append(tokens.format.shown)
    ids, key = tokens.prefix_ids(Prefix("12 + 3 =")), Key(0, "probe", 0, "probe")
    drawn = await model.draw(ids, _ROWS, key, _LAW)
    again = await model.draw(ids, _ROWS, key, _LAW)
    rows = [tuple(token.id for token in row) for row in drawn]
    for row in rows:
        tokens.check(row)
    same = rows == [tuple(token.id for token in row) for row in again]
    findings.append("token ids come back")
    findings.append("seeds are honoured" if same else "seeds are NOT honoured: a run cannot be repeated exactly")
    model.reported = "unknown"
    for context in (ids, tokens.codec.bos_ids + tokens.codec.encode("12 + 3 ="), ids[: len(ids) // 2]):
        try:
            gaps = await _gaps(model, context or ids, await model.draw(context or ids, _ROWS, key, _LAW))
        except LawMismatch as error:
            model.unscored = str(error)
            findings.append("given steps CANNOT be scored: not usable as draft or base of a method with a ratio")
            return findings
        nearest = min(gaps.raw, gaps.law)
        if nearest > _TOLERANCE:
            raise BackendError(
                f"{model.name}: its scores differ from its sampler's log-probabilities by {nearest:.2g} nats a token; "
                "is another model, quantisation or adapter behind one of the two? Compare the server's settings"
            )
        if max(gaps.raw, gaps.law) >= 4 * nearest + 1e-3:  # else the model is too sure of itself here to tell
            model.reported = "raw" if gaps.raw < gaps.law else "processed"
            break
    findings.append(f"scores equal the sampler's log-probabilities within {nearest:.1e} nats a token")
    findings.append(f"sampled log-probabilities are {model.reported}")
    findings.append(
        f"at temperature {_LAW.temperature} a step is known within {gaps.bound:.1e} nats (top_k={model.top_k})"
    )
    return findings


class _Gaps(NamedTuple):
    """Mean |sampler − scorer| in nats a token: with the scorer at temperature 1, and under the law beyond its certified
    bound; and the largest such bound, in nats a step."""

    raw: float
    law: float
    bound: float


async def _gaps(model: ServerModel, ids: Ids, drawn: Sequence[Sequence[Token]]) -> _Gaps:
    rows = [tuple(token.id for token in row) for row in drawn]
    unique = list(dict.fromkeys(rows))
    given = await model.list_given(ids, unique, model.top_k)
    raw = {row: fsum(t.listed[t.id] for t in listed) for row, listed in zip(unique, given, strict=True)}
    law = {row: tempered_sum(listed, model.top_k, _LAW.temperature) for row, listed in zip(unique, given, strict=True)}
    pairs = [(row, fsum(t.listed[t.id] for t in tokens)) for row, tokens in zip(rows, drawn, strict=True)]
    length = sum(map(len, rows))
    return _Gaps(
        fsum(abs(raw[row] - value) for row, value in pairs) / length,
        fsum(max(0.0, abs(law[row].log_prob - value) - law[row].error) for row, value in pairs) / length,
        max(score.error for score in law.values()),
    )


async def _vocabulary(model: ServerModel) -> str:
    """Compare the tokenizer's files with the server's own tokenizer, where it can be asked."""
    wanted = model.tokens.codec.encode_marked(_TEXT)

    def ids_in(answer: Any) -> Ids:
        return tuple(map(int, answer["tokens"]))

    body = {"model": model.model, "prompt": _TEXT, "text": _TEXT, "add_special_tokens": False}
    root = [replica.url.removesuffix("/v1") for replica in model.transport.replicas]
    asked = Transport(root, patience=Patience(timeout=10.0, attempts=3))
    try:
        found = await asked.ask("/tokenize", body, ids_in, "comparing the tokenizer")
    except (BackendError, ConfigError):
        return "its tokenizer cannot be asked: the files given are trusted"
    finally:
        await asked.aclose()
    if found != wanted:
        raise VocabularyMismatch(
            f"{model.name}: it encodes {_TEXT!r} as {list(found)[:12]}…, the given tokenizer as {list(wanted)[:12]}…; "
            "give ?tokenizer=FOLDER with the served model's own tokenizer"
        )
    return "its tokenizer encodes as the files given"


def _only(about: About, transport: Transport) -> str:
    if len(about.models) > 1:
        raise SpecError(f"{transport.name} serves {', '.join(about.models)}; name one: …#MODEL")
    return about.models[0] if about.models else ""
