"""A language model behind vLLM (server:…) or SGLang (sglang:…) as a StepModel. Token ids in and out.

Servers give log-probabilities at temperature 1 (or, vLLM with processed logprobs, at the sampling temperature for
sampled tokens): tempered.py turns those of the k most likely tokens into log π under the law, with a certified bound.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import cached_property, partial
from hashlib import blake2b
from math import fsum, inf
from typing import Any, Literal

from gsi_node.cancel import together
from gsi_node.core.rng import Stream
from gsi_node.ends import StepEnds, check_reached
from gsi_node.errors import ConfigError, InvalidLogProb, LawMismatch
from gsi_node.hearing import current_hear
from gsi_node.identity import fingerprint_of
from gsi_node.models.servers.by_ids import IdScorer
from gsi_node.models.servers.client import ModelClient
from gsi_node.models.servers.dialect import Dialect, DrawRequest
from gsi_node.models.servers.http import Transport
from gsi_node.models.servers.rows import CutRow, RowStream, cut
from gsi_node.models.servers.tempered import TopK, check_temperature, tempered_sum
from gsi_node.text.tokens import Tokenized, Tokens
from gsi_node.types import PARAGRAPH, Ends, Ids, Key, Prefix, SamplingLaw, Score, Step

LogProbsMode = Literal["raw", "processed", "unknown"]
HearCut = Callable[[int, CutRow], None]


class ServerModel(Tokenized, ModelClient):
    """π on a server, which draws by its own random numbers, seeded from Stream(key, i). Threads and event loops may
    share one object; requests run side by side.

    model: the served name, "" where the server has only one. top_k: how many tokens the server lists at a position
    (vLLM's default cap is 20). names: under which its answers may come. served: what the server calls the model where
    no name is asked for. context: tokens the server takes, None where unknown. reported: whether sampled tokens'
    log-probabilities are those at temperature 1 ("raw") or under the sampling law ("processed"). unscored: why the
    server cannot score, if it cannot. by_ids: what scores given steps by ids, where it may. stops: whether it ends a
    row at the ids that it is told. The last seven, and `findings`, are what probe.py found out. probe_ends: what it
    says of a rule of step ends.
    """

    def __init__(
        self,
        transport: Transport,
        dialect: Dialect,
        tokens: Tokens,
        *,
        model: str,
        top_k: int = 20,
        context: int | None = None,
        reported: LogProbsMode = "raw",
    ) -> None:
        if top_k < 1:
            raise ConfigError(f"top_k is {top_k}; at least 1 token must be listed")
        self.name = f"{dialect.kind}:{transport.name}#{model}"
        self.transport = transport
        self.dialect = dialect
        self.tokens = tokens
        self.model = model
        self.top_k = top_k
        self.names = frozenset((model,))
        self.served = model
        self.context = context
        self.reported: LogProbsMode = reported
        self.unscored: str | None = None
        self.by_ids: IdScorer | None = None
        self.stops = True
        self.probe_ends: Callable[[Ends], Coroutine[Any, Any, str]] | None = None
        self._probed = {PARAGRAPH}
        self.findings: tuple[str, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the served name, EOS and top_k, and of how prompts are encoded and rendered, and what
        sampled log-probabilities are. The weights are the server's; addresses may change."""
        content = repr((self.model, self.vocabulary, self.eos_ids, self.top_k))
        return fingerprint_of(
            f"{self.dialect.kind}:" + blake2b(content.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest(),
            {
                "model": self.model or self.served,
                "tokenizer": self.tokens.codec.content,
                "prompt": self.tokens.format.rendered,
                "logprobs": self.reported if self.by_ids is None else f"{self.reported}, given steps by ids",
            },
        )

    def supports(self, law: SamplingLaw) -> None:
        """0 < T ≤ 1, top_p = 1, and ends that its tokens write; else LawMismatch. A new rule of step ends is tried."""
        self._check(law)
        if self.probe_ends is not None and law.ends not in self._probed:
            self.findings += (self.transport.wait(self.probe_ends(law.ends)),)
            self._probed.add(law.ends)

    def id_scorer(self) -> IdScorer:
        """A scorer by ids, which was not probed."""
        return IdScorer(self.model, self.names, self.top_k)

    @property
    def reads_likely(self) -> bool:
        """Whether it scores better what comes with Step.likely."""
        return self.by_ids is not None and self.by_ids.dropped is None

    def check_ratio(self, law: SamplingLaw) -> None:
        """LawMismatch where this server cannot take part in π_B/π_S under `law`, as draft or as base."""
        if self.unscored is not None:
            raise LawMismatch(f"{self.name}: {self.unscored}. It can draft without a ratio, or be a fallback")
        if self.reported == "unknown" and law.temperature != 1.0:
            raise LawMismatch(
                f"{self.name}: the probe could not tell whether its log-probabilities include the "
                "temperature; set temperature to 1, or sampled=raw or sampled=processed in the spec"
            )

    async def draw(self, ids: Ids, n: int, key: Key, law: SamplingLaw, hear: HearCut | None = None) -> list[CutRow]:
        """n rows of sampled tokens, each up to its first END, as the server reports them. hear: is told of each
        row that has ended."""
        limit = min(law.max_step_tokens, self._room(ids, 1))
        ends = self.step_ends(law)
        k = 1 if law.temperature == 1.0 or self.reported == "processed" else self.top_k
        seeds, past_eos = [seed(key, i) for i in range(n)], not ends.eos_ids.issuperset(self.eos_ids)
        draw = DrawRequest(ids, seeds, law.temperature, limit, ends.sure_ids, k, past_eos)
        what = f"sampling {n} steps after {len(ids)} tokens (seed {draw.seeds[0]})"
        deadline = self.transport.deadline()
        if not self.streams(ends) and hear is None:
            return await self._whole(draw, ends, what, deadline)

        async def one(place: int, row: DrawRequest) -> CutRow:
            if self.streams(ends):
                found = await self._follow(row, ends, what, deadline)
            else:
                (found,) = await self._whole(row, ends, what, deadline)
            if hear is not None:
                hear(place, found)
            return found

        return await together(one(place, row) for place, row in enumerate(self.dialect.rows(draw)))

    async def _whole(self, draw: DrawRequest, ends: StepEnds, what: str, deadline: float) -> list[CutRow]:
        """The rows of one request, once all have ended."""

        def read(answer: object) -> list[CutRow]:
            return [cut(drawn, draw.limit, ends) for drawn in self.dialect.read_samples(answer, self.names, draw)]

        entries = len(draw.seeds) * (len(draw.ids) + draw.limit * (draw.k + 2))
        body = self.dialect.sampling(self.model, draw)
        return await self.transport.ask(self.dialect.path, body, read, what, entries=entries, deadline=deadline)

    async def _follow(self, row: DrawRequest, ends: StepEnds, what: str, deadline: float) -> CutRow:
        """A request of one row as a stream, which is left at its END."""
        entries = len(row.ids) + row.limit * (row.k + 2) * (2 + row.limit // 8)  # an event may list a row anew
        body = {**self.dialect.sampling(self.model, row), "stream": True}
        begin = partial(RowStream, self.dialect, self.names, row, ends)
        return await self.transport.follow(self.dialect.path, body, begin, what, entries=entries, deadline=deadline)

    def streams(self, ends: StepEnds) -> bool:
        """Whether rows are streamed: where the tokenizer writes one of the ends, between two letters, with a last token
        that is no stop id, so that the server would run on; or where the server stops at no id."""
        stop_ids = frozenset(ends.sure_ids)

        def runs_on(end: str) -> bool:
            ids = self.tokens.codec.encode_marked(f"a{end}a")
            length = ends.length(ids)
            return length is None or ids[length - 1] not in stop_ids

        return any(not self.stops or runs_on(end) for end in ends.ends.strings)

    async def list_given(self, ids: Ids, rows: Sequence[Ids], k: int) -> list[list[TopK]]:
        """The k most likely tokens at every position of given rows, at temperature 1."""
        what = f"scoring {len(rows)} steps of up to {max(map(len, rows))} tokens after {len(ids)}"
        body = self.dialect.scoring(self.model, ids, rows, k)

        def read(answer: object) -> list[list[TopK]]:
            return self.dialect.read_scores(answer, self.names, ids, rows)

        entries = sum(len(ids) + len(row) for row in rows) * (k + 2)
        return await self.transport.ask(self.dialect.path, body, read, what, entries=entries)

    def _check(self, law: SamplingLaw) -> None:
        check_temperature(law.temperature)
        if law.top_p < 1.0:
            raise LawMismatch(
                f"{self.name}: top_p is {law.top_p}, but a server does not tell log-probabilities within "
                "a nucleus: set top_p to 1"
            )
        if law.max_step_tokens < 1:
            raise LawMismatch(f"max_step_tokens is {law.max_step_tokens}; a step needs room for at least one token")
        check_reached(self, law)

    async def _sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        self._check(law)
        if n < 1:
            raise ConfigError(f"n is {n}; ask for at least one candidate")
        hear = current_hear()

        def told(place: int, row: CutRow) -> None:
            if hear is not None:
                hear({place: partial(self._step, prefix, row, law)})

        drawn = await self.draw(self.tokens.prefix_ids(prefix), n, key, law, told if hear else None)
        return [self._step(prefix, row, law) for row in drawn]

    async def _score(self, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]:
        self._check(law)
        if self.unscored is not None:
            raise LawMismatch(f"{self.name}: {self.unscored}")
        rows, ends = self.tokens.rows(steps), self.step_ends(law)
        unique = {row: step for row, step in zip(rows, steps, strict=True) if not ends.beyond(row)}
        known: dict[Ids, Score] = {}
        if unique:
            ids = self.tokens.prefix_ids(prefix)
            self._room(ids, max(map(len, unique)))
            if self.by_ids is not None and self.by_ids.dropped is None:
                known |= await self.by_ids.scores(self.transport, ids, list(unique.values()), law.temperature)
            left = [row for row in unique if row not in known]
            k = 1 if law.temperature == 1.0 else self.top_k
            listed = await self.list_given(ids, left, k) if left else []
            known |= {row: self._under(tokens, k, law.temperature) for row, tokens in zip(left, listed, strict=True)}
        return [known.get(row, Score(-inf)) for row in rows]

    def _step(self, prefix: Prefix, row: CutRow, law: SamplingLaw) -> Step:
        tokens, likely = row.tokens, tuple[Ids, ...]()
        if self.reported == "processed" or law.temperature == 1.0:
            score = Score(fsum(token.listed[token.id] for token in tokens))
        else:
            score = self._under(tokens, self.top_k, law.temperature)
            likely = tuple(token.likely for token in tokens)
        if score.log_prob == -inf:
            raise InvalidLogProb(f"{self.name}: it sampled a step that it gives probability zero")
        step = self.tokens.step(prefix, tuple(token.id for token in tokens), *score)
        return replace(step, beyond=row.beyond, likely=likely)

    def _under(self, tokens: list[TopK], k: int, temperature: float) -> Score:
        try:
            return tempered_sum(tokens, k, temperature)
        except InvalidLogProb as error:
            raise InvalidLogProb(f"{self.name}: {error}; lower ?top_k to what the server lists") from error

    def _room(self, ids: Ids, needed: int) -> int:
        """Tokens left in the server's context after `ids`; ConfigError if fewer than `needed`."""
        if self.context is None:
            return 1 << 30
        room = self.context - len(ids) - self.dialect.spare
        if room < needed:
            raise ConfigError(
                f"{self.name}: the prefix has {len(ids)} tokens and the step needs {needed}, but the server's context "
                f"ends at {self.context}; lower max_steps or max_step_tokens, or start it with a longer context"
            )
        return room


def seed(key: Key, candidate: int) -> int:
    """The integer seed of a candidate: 53 bits from its keyed stream, which JSON and int64 hold exactly."""
    return int(Stream(key, candidate).uniform() * 2**53)
