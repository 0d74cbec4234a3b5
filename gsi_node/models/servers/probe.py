"""At start-up: reach a server, and find out what it can do, before a run depends on it.

Checked: the served name, the context length, the tokenizer against the server's own, returned token ids, seeds, stop
ids, the rule by which steps end (paragraphs now, another one when a run first asks for it), and the scorer against the
sampler on the same ids, which also tells whether sampled log-probabilities include the temperature; and whether it may
score by ids (by_ids.py).
Every further replica must give the first one's numbers (reference.py), now or, if it is down, before it is first used.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from gsi_node.errors import BackendError, BackendUnavailable, ConfigError, LawMismatch, SpecError, VocabularyMismatch
from gsi_node.models.servers.agreement import about, card_of, names_of
from gsi_node.models.servers.by_ids import PATH
from gsi_node.models.servers.dialects import DIALECTS
from gsi_node.models.servers.http import Transport
from gsi_node.models.servers.model import ServerModel
from gsi_node.models.servers.reach import USUAL as REACH
from gsi_node.models.servers.reach import Reach
from gsi_node.models.servers.reference import KEY, LAW, ROWS, TOLERANCE, Reference, look, same, untrusted
from gsi_node.models.servers.replica import Replica
from gsi_node.models.servers.rows import CutRow
from gsi_node.text.prompt import USUAL, PromptSettings
from gsi_node.text.tokens import Tokens
from gsi_node.types import PARAGRAPH, Ends, Ids, Prefix

_log = logging.getLogger("gsi_node.server")
_TEXT = "Step 1: So the sum is 12+3*45 = 147.\n\nIt's 1/2.\n\n"


def connect(
    kind: str,
    urls: Sequence[str],
    model: str = "",
    *,
    tokenizer: str | None = None,
    prompt: PromptSettings = USUAL,
    top_k: int = 20,
    sampled: str = "probe",
    reach: Reach = REACH,
) -> ServerModel:
    """The model behind one or more equal servers, probed. Raises BackendUnavailable, SpecError, VocabularyMismatch.

    model: the served name; "" takes the only one. tokenizer: folder or hub name (default: the folder the server names
    of itself). sampled: "raw" or "processed" overrules what the probe finds of the sampler's log-probabilities.
    """
    if kind not in DIALECTS:
        raise SpecError(f"server kind {kind!r} is unknown; known: {', '.join(DIALECTS)}")
    if sampled not in ("probe", "raw", "processed"):
        raise ConfigError(f"sampled is {sampled!r}; write raw, processed, or probe")
    transport = Transport(urls, reach)
    dialect = DIALECTS[kind]
    try:
        cards = transport.wait(about(dialect, transport))
        card = card_of(cards, model, transport)
        model = model or (card.name if dialect.named else "")
        folder = tokenizer or card.folder
        if folder is None:
            raise SpecError(f"{transport.name} does not say where its tokenizer is; add ?tokenizer=FOLDER to the spec")
        tokens = Tokens.of_folder(folder, f"{kind}:{transport.name}#{model}", prompt)
        found = ServerModel(transport, dialect, tokens, model=model, top_k=top_k, context=card.context)
        found.names, found.served = names_of(cards, card), card.name
        probe(found)
    except BaseException:
        transport.close()
        raise
    if sampled != "probe":
        found.reported = "raw" if sampled == "raw" else "processed"
    return found


def probe(model: ServerModel) -> None:
    """Fill in what the servers can do, and `findings`; the findings go to the log as one message."""
    model.findings = tuple(model.transport.wait(_probe(model)))
    _log.info("%s: %s", model.name, "; ".join(model.findings))


async def _probe(model: ServerModel) -> list[str]:
    """The findings. The first replica that can be reached is examined, and the others are compared with it."""
    whole = model.transport
    findings: list[str] = []
    for first in whole.replicas:
        model.transport = whole.only(first, attempts=9)
        try:
            reference = await _examine(model, findings)
            break
        except BackendUnavailable:
            if first is whole.replicas[-1]:
                raise
            findings.clear()
            first.set_aside()
        finally:
            model.transport = whole
    first.checked = first.heard = time.monotonic()
    whole.check = partial(_again, model, reference)
    model.probe_ends = partial(_ends, model, reference)
    for replica in whole.replicas:
        if replica is not first:
            findings.append(await _compare(model, reference, whole, replica))
    if not model.reads_likely:  # a further replica may have changed that
        model.by_ids = None
    return findings


async def _again(model: ServerModel, reference: Reference, one: Transport) -> None:
    """What a replica that was away is asked before it counts again."""
    await same(model, reference, one)


async def _compare(model: ServerModel, reference: Reference, whole: Transport, replica: Replica) -> str:
    """Look at a further replica. Raises BackendError, SpecError, VocabularyMismatch where it is no equal."""
    started = time.monotonic()
    one = whole.only(replica)
    try:
        card, found = await same(model, reference, one)
        await _vocabulary(model, one)
    except BackendUnavailable as error:
        replica.set_aside()
        _log.warning("%s: %s", model.name, error)
        return f"{replica.url} CANNOT be reached: it is looked at before it is first used"
    replica.checked = started
    if card.context is not None:
        model.context = min(card.context, model.context or card.context)
    drawn = "the same steps" if found.drawn == reference.drawn else "OTHER steps of the same seeds"
    return f"{replica.url} gives the same numbers, and draws {drawn}"


async def _examine(model: ServerModel, findings: list[str]) -> Reference:
    """What the server of model.transport can do, into the model and the findings; what others must say, too."""
    tokens = model.tokens
    findings += [
        f"model {model.model or model.served}, {model.context or 'unknown'} tokens of context",
        await _vocabulary(model, model.transport),
        *tokens.format.findings,
    ]
    ids = tokens.prefix_ids(Prefix("12 + 3 ="))
    model.reported, model.unscored = "unknown", None
    for context in (ids, tokens.codec.bos_ids + tokens.codec.encode("12 + 3 ="), ids[: len(ids) // 2]):
        try:
            found = await look(model, context or ids)
        except LawMismatch as error:
            model.unscored = str(error)
            found = await look(model, ids)
        if context is ids:
            findings += [*await _draws(model, found), await _stops(model, found), await _ends(model, found, PARAGRAPH)]
        if (gaps := found.gaps) is None:
            findings.append("given steps CANNOT be scored: not usable as draft or base of a method with a ratio")
            return found
        if gaps.nearest > TOLERANCE:
            raise BackendError(
                f"{model.name}: its scores differ from its sampler's log-probabilities by {gaps.nearest:.2g} "
                "nats a token; is another model, quantisation or adapter behind one of the two? Compare the server's "
                "settings"
            )
        model.reported = gaps.reported
        told = [
            f"scores equal the sampler's log-probabilities within {gaps.nearest:.1e} nats a token",
            f"sampled log-probabilities are {model.reported}",
            f"at temperature {LAW.temperature} a step is known within {gaps.bound:.1e} nats (top_k={model.top_k})",
        ]
        if model.reported != "unknown":
            break
    findings += told
    if model.dialect.by_ids:
        findings.append(await _by_ids(model, found))
    return found


async def _by_ids(model: ServerModel, found: Reference) -> str:
    """Whether it may score by ids."""
    scorer = model.id_scorer()
    try:
        why = await untrusted(scorer, found, model.transport)
    except BackendUnavailable as error:
        why = model.transport.shown(str(error))
    model.by_ids = scorer if why is None else None
    if why is None:
        return f"given steps are scored by ids ({PATH}), with the numbers of prompt_logprobs and from its prefix cache"
    return f"given steps are scored by prompt_logprobs, without its prefix cache; by ids ({PATH}): {why}"


async def _draws(model: ServerModel, found: Reference) -> list[str]:
    """Whether the ids of what it drew are known, and whether it draws them again."""
    for row in found.drawn:
        model.tokens.check(row)
    again = await model.draw(found.ids, ROWS, KEY, LAW)
    rows = _ids(again)
    same_rows = (
        "seeds are honoured" if rows == found.drawn else "seeds are NOT honoured: a run cannot be repeated exactly"
    )
    return ["token ids come back", same_rows]


async def _stops(model: ServerModel, found: Reference) -> str:
    """Whether a row ends at a stop id, which comes back as its last token: with all ids that were drawn as such."""
    stop_ids = tuple(sorted({*model.eos_ids, *(i for row in found.drawn for i in row)}))
    rows = await model.draw(found.ids, ROWS, KEY, replace(LAW, eos_ids=stop_ids))
    model.stops = not any(row.beyond for row in rows)
    if model.stops:
        return "stop ids end a step, and come back as its last token"
    return "stop ids do NOT end a step: every answer with a step end is streamed, and left there"


async def _ends(model: ServerModel, found: Reference, ends: Ends) -> str:
    """How steps end by a rule. They are drawn as in a run, and must be the rows that were drawn without one, cut."""
    step_ends = model.step_ends(replace(LAW, ends=ends))
    rows = _ids(await model.draw(found.ids, ROWS, KEY, replace(LAW, ends=ends)))
    ended = sum(step_ends.length(row) is not None for row in rows)
    how = "streamed, and left there" if model.streams(step_ends) else "whole"
    same_rows = rows == tuple(row[: step_ends.length(row)] for row in found.drawn)
    return (
        f"steps end at {', '.join(map(repr, ends.strings)) or 'a number of tokens'}: {len(step_ends.sure_ids)} stop "
        f"ids, answers are {how}; {ended} of {ROWS} short steps came to an end"
        f"{'' if same_rows else ', and they are OTHER steps than those of the same seeds without ends'}"
    )


def _ids(rows: Sequence[CutRow]) -> tuple[Ids, ...]:
    return tuple(tuple(token.id for token in row.tokens) for row in rows)


async def _vocabulary(model: ServerModel, one: Transport) -> str:
    """Compare the tokenizer's files with the tokenizer of a server, where it can be asked."""
    wanted = model.tokens.codec.encode_marked(_TEXT)

    def ids_in(answer: Any) -> Ids:
        return tuple(map(int, answer["tokens"]))

    body = {"model": model.model, "prompt": _TEXT, "text": _TEXT, "add_special_tokens": False}
    try:
        once = one.only(one.replicas[0], timeout=10.0)
        found = await once.ask("/tokenize", body, ids_in, "comparing the tokenizer", root=True)
    except (BackendError, ConfigError):
        return "its tokenizer cannot be asked: the files given are trusted"
    if found != wanted:
        raise VocabularyMismatch(
            f"{one.name}: it encodes {_TEXT!r} as {list(found)[:12]}…, the given tokenizer as {list(wanted)[:12]}…; "
            "give ?tokenizer=FOLDER with the served model's own tokenizer"
        )
    return "its tokenizer encodes as the files given"
