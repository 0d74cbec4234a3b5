"""What a server said at start-up. Every replica of it, and each that comes back after a failure, must say it again.

A served name says nothing of the weights behind it, and a replica that is another model gives numbers under a wrong
name. So each is asked to draw and to score the same token ids, and the numbers are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from math import fsum, inf, isfinite

from gsi_node.errors import BackendError, BackendUnavailable, ConfigError, GSIError, SpecError
from gsi_node.models.servers.agreement import about, card_of, names_of
from gsi_node.models.servers.by_ids import PATH, IdScorer
from gsi_node.models.servers.dialect import Card
from gsi_node.models.servers.http import Transport
from gsi_node.models.servers.model import LogProbsMode, ServerModel
from gsi_node.models.servers.tempered import TopK, tempered_sum
from gsi_node.types import Ends, Ids, Key, SamplingLaw

LAW = SamplingLaw(temperature=0.5, max_step_tokens=12, ends=Ends(()))
ROWS = 8
TOLERANCE = 0.1
"""Nats a token of the steps at hand: bfloat16 servers differ by hundredths between decoding and prefill."""
LISTED = 0.25
"""Nats a listed token, the unlikely ones too: two machines differ by hundredths there, two models by whole nats."""
_BY_IDS = 2  # rows that are compared
KEY = Key(0, "probe", 0, "probe")


@dataclass(frozen=True, slots=True)
class LogProbGaps:
    """Mean |sampler − scorer| in nats a token: with the scorer at temperature 1, and under the law beyond its certified
    bound; and the largest such bound, in nats a step."""

    raw: float
    law: float
    bound: float

    @property
    def nearest(self) -> float:
        return min(self.raw, self.law)

    @property
    def reported(self) -> LogProbsMode:
        """What sampled log-probabilities are; unknown where the model is too sure of itself here to tell."""
        if max(self.raw, self.law) < 4 * self.nearest + 1e-3:
            return "unknown"
        return "raw" if self.raw < self.law else "processed"


@dataclass(frozen=True, slots=True)
class Reference:
    """Steps that the server drew after `ids`, and what it lists at each of their tokens.

    listed: at temperature 1, by the scorer; of a server that scores nothing, what its sampler listed at first tokens.
    """

    ids: Ids
    drawn: tuple[Ids, ...]
    listed: Mapping[Ids, Sequence[TopK]]
    gaps: LogProbGaps | None


async def look(model: ServerModel, ids: Ids, also: Sequence[Ids] = ()) -> Reference:
    """Draw steps after `ids`, and score them and the rows of `also`. Raises LawMismatch where it cannot score."""
    drawn = [row.tokens for row in await model.draw(ids, ROWS, KEY, LAW)]
    rows = tuple(tuple(token.id for token in row) for row in drawn)
    if model.unscored is not None:
        return Reference(ids, rows, {(): drawn[0][:1]}, None)
    unique = list(dict.fromkeys((*rows, *also)))
    listed = dict(zip(unique, await model.list_given(ids, unique, model.top_k), strict=True))
    own = [(row, fsum(t.listed[t.id] for t in tokens)) for row, tokens in zip(rows, drawn, strict=True)]
    law = {row: tempered_sum(listed[row], model.top_k, LAW.temperature) for row in set(rows)}
    length = sum(map(len, rows))
    gaps = LogProbGaps(
        fsum(abs(_score(listed[row]) - value) for row, value in own) / length,
        fsum(max(0.0, abs(law[row].log_prob - value) - law[row].error) for row, value in own) / length,
        max(score.error for score in law.values()),
    )
    return Reference(ids, rows, listed, gaps)


async def same(model: ServerModel, kept: Reference, one: Transport) -> tuple[Card, Reference]:
    """What the server of `one` says of itself, which must be what `kept` says. Raises BackendError, SpecError."""
    cards = await about(model.dialect, one)
    card = card_of(cards, model.model, one)
    if not model.model and card.name != model.served:
        raise SpecError(f"{one.name} serves {one.shown(card.name)!r} now, and not {model.served!r:.80}")
    other = copy(model)
    other.name, other.transport, other.reported = f"{model.dialect.kind}:{one.name}#{model.model}", one, "unknown"
    other.names = names_of(cards, card)
    if model.reads_likely and (why := await untrusted(other.id_scorer(), kept, one)) is not None:
        assert model.by_ids is not None
        model.by_ids.drop(one, why)
    found = await look(other, kept.ids, [row for row in kept.listed if row])
    apart = [_apart(kept.listed[row], found.listed[row]) for row in kept.listed]
    for what, mean, most in (
        ("of the same steps", fsum(a for a, _ in apart) / len(apart), TOLERANCE),
        ("of what it lists", fsum(b for _, b in apart) / len(apart), LISTED),
    ):
        if mean > most:
            raise BackendError(
                f"{one.name} gives other log-probabilities {what} than {model.name} did when the run began, by "
                f"{mean:.2g} nats a token: another model, quantisation or adapter is behind {model.model!r} there. "
                "Serve one model at every address, or begin a new run"
            )
    if kept.gaps and found.gaps and {kept.gaps.reported, found.gaps.reported} == {"raw", "processed"}:
        raise BackendError(
            f"{one.name} reports {found.gaps.reported} log-probabilities of what it samples, and {model.name} reported "
            f"{kept.gaps.reported} ones: start every replica with the same --logprobs-mode"
        )
    return card, found


async def untrusted(scorer: IdScorer, kept: Reference, one: Transport) -> str | None:
    """Why the server of `one` must not score by ids: it cannot, or its numbers are not those of prompt_logprobs on the
    same ids; None where it may. Raises BackendUnavailable."""
    rows = {row: scorer.asked(row, [token.likely for token in tokens]) for row, tokens in kept.listed.items() if row}
    rows = dict(list(rows.items())[:_BY_IDS])
    try:
        found = await scorer.listed(one.only(one.replicas[0], attempts=1), kept.ids, rows)
    except BackendUnavailable:
        raise
    except ConfigError:  # 404, or 403 where it is there and not enabled
        return "it has no such endpoint"
    except GSIError as error:
        return one.shown(str(error))
    if found is None:
        return scorer.dropped
    apart = [_apart(kept.listed[row], told.tokens) for row, told in zip(rows, found, strict=True)]
    own, listed = (fsum(gaps) / len(apart) for gaps in zip(*apart, strict=True))
    if own > TOLERANCE or listed > LISTED:
        return f"{PATH} gives other numbers, by {own:.2g} nats a token and {listed:.2g} a listed one"
    return None


def _score(tokens: Sequence[TopK]) -> float:
    return fsum(token.listed[token.id] for token in tokens)


def _apart(kept: Sequence[TopK], found: Sequence[TopK]) -> tuple[float, float]:
    """Mean difference of two lists of one row, in nats a token: of the tokens at hand, and of all that both list."""
    if not kept:
        return 0.0, 0.0
    own = [_gap(a.listed[a.id], b.listed[a.id]) if a.id in b.listed else 0.0 for a, b in zip(kept, found, strict=True)]
    return fsum(own) / len(own), fsum(_listed(a.listed, b.listed) for a, b in zip(kept, found, strict=True)) / len(own)


def _listed(kept: Mapping[int, float], found: Mapping[int, float]) -> float:
    both = kept.keys() & found.keys()
    if 2 * len(both) < min(len(kept), len(found)):
        return inf
    return fsum(_gap(kept[i], found[i]) for i in both) / len(both)


def _gap(a: float, b: float) -> float:
    return abs(a - b) if isfinite(a) and isfinite(b) else 0.0 if a == b else inf
