"""At start-up: reach a chat endpoint, and say what of a run it cannot honour, before a run depends on it.

Asked: which models it lists, whether a seed repeats an answer, whether it streams, and whether a last, assistant turn
goes on. A replica must list the model with the weights of the first, now and when it comes back.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from gsi_node.errors import BackendError
from gsi_node.models.servers.agreement import equal, listed
from gsi_node.models.servers.chat import PATH, ChatStepModel
from gsi_node.models.servers.chat_rows import sent
from gsi_node.models.servers.dialect import Card
from gsi_node.models.servers.http import Transport
from gsi_node.models.servers.reach import USUAL as REACH
from gsi_node.models.servers.reach import Reach
from gsi_node.text.counted import CountedText
from gsi_node.text.prompt import USUAL, PromptSettings
from gsi_node.types import Ends, SamplingLaw, Turn

_log = logging.getLogger("gsi_node.server")
_ASKED = [Turn("user", "What is 12 + 3? Reason step by step.")]
_BEGUN = "Twelve plus three"
_LAW = SamplingLaw(max_step_tokens=16, ends=Ends(()))
Sayings = tuple[Card, frozenset[str]]


def connect(
    urls: Sequence[str],
    model: str = "",
    *,
    prefill: str = "continue_final_message",
    tokenizer: str | None = None,
    prompt: PromptSettings = USUAL,
    reach: Reach = REACH,
) -> ChatStepModel:
    """The model behind one or more equal chat endpoints, probed. Raises BackendUnavailable, SpecError, ConfigError.

    model: the served name; "" takes the only one. prefill: of PREFILLS. tokenizer: folder or hub name, whose tokens
    budgets count; None counts characters.
    """
    transport = Transport([url.rstrip("/").removesuffix("/v1") for url in urls], reach)

    async def look(one: Transport) -> Sayings:
        return await listed(one, model)

    def same(kept: Sayings, found: Sayings, url: str) -> None:
        if (kept[0].name, kept[0].folder) != (found[0].name, found[0].folder):
            raise BackendError(
                f"{url} serves {transport.shown(repr(found[0]))}, and {transport.name} began with "
                f"{transport.shown(repr(kept[0]))}: serve one model at every address, or begin a new run"
            )

    try:
        card, names = transport.wait(equal(transport, look, same))
        counted = CountedText(f"chat:{transport.name}#{card.name}", tokenizer)
        found = ChatStepModel(transport, card.name, counted, prefill=prefill, prompt=prompt)
        found.names = names
        probe(found)
    except BaseException:
        transport.close()
        raise
    return found


def probe(model: ChatStepModel) -> None:
    """Fill in what the endpoint can do, and `findings`. What it cannot honour goes to the log as a warning each."""
    honoured, not_honoured = model.transport.wait(_probe(model))
    model.findings = (*honoured, *not_honoured)
    _log.info("%s: %s", model.name, "; ".join(model.findings))
    for finding in not_honoured:
        _log.warning("%s: %s", model.name, finding)


async def _probe(model: ChatStepModel) -> tuple[list[str], list[str]]:
    """What it does as a run wants it, and what it does not."""
    well = [
        f"model {model.model}, steps are counted in {model.counted.unit}",
        "no log-probabilities, so no method with a ratio",
    ]
    ill = []
    model.streams = False
    first, again = [await model.draw(_ASKED, "", [1], _LAW) for _ in range(2)]
    if first == again:
        well.append("seeds are honoured")
    else:
        ill.append("seeds are NOT honoured: a run cannot be repeated exactly")
    model.streams = True
    try:
        await model.draw(_ASKED, "", [1], _LAW)
        well.append("no endpoint is told step ends: answers are streamed, and left there")
    except BackendError as error:
        if "no event came" not in str(error):
            raise
        model.streams = False
        ill.append("it does NOT stream: every answer is read whole, up to max_step_tokens, and cut at its step end")
    if not model.continues:
        ill.append("it answers whole (?prefill=none): step_end tokens:K, and max_steps 1")
        return well, ill
    grown, model.echoes = await _goes_on(model)
    if model.echoes:
        well.append("its answers begin with the turn that they go on from, which is taken off")
    if grown is None:
        ill.append("whether an assistant turn goes on CANNOT be told: it does not tell how long its prompts are")
    elif grown > 1:
        ill.append(
            f"an assistant turn adds {grown} tokens to the prompt beside its text: it may be ENDED there, and every "
            "step begin a new answer; look at a run's steps, and try another ?prefill="
        )
    else:
        well.append("an assistant turn goes on")
    return well, ill


async def _goes_on(model: ChatStepModel) -> tuple[int | None, bool]:
    """Tokens that an assistant turn adds to the prompt beside those of its text (the end of the turn, and the head of
    another), None where that is not told; and whether the answer begins with the turn."""

    def read(answer: Any) -> tuple[int | None, str]:
        told = (answer.get("usage") or {}).get("prompt_tokens")
        return told if isinstance(told, int) else None, answer["choices"][0]["message"].get("content") or ""

    async def asked(response: str) -> tuple[int | None, str]:
        body = model.request(_ASKED, sent(response), 1, _LAW)
        return await model.transport.ask(PATH, body, read, "trying to go on", entries=1024)

    (none, _), (one, _), (two, said) = [await asked(text) for text in ("", _BEGUN, f"{_BEGUN} {_BEGUN}")]
    grown = None if none is None or one is None or two is None else (one - none) - (two - one)
    return grown, said.startswith(f"{_BEGUN} {_BEGUN}")
