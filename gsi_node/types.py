"""Plain, frozen data that crosses the rooms of the package. No I/O; numpy is the one library.

Symbols follow arXiv 2506.04118: x is a `Prefix`, y a `Step`. Every log-probability is in nats and belongs to one
`SamplingLaw`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from json import dumps
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ids = tuple[int, ...]  # token ids
Plain = dict[str, Any]  # JSON-plain values by name
WIRE = 2
"""How `gsi serve` and its client write prefixes, laws and steps; another number where the other would misread them."""


@dataclass(frozen=True, slots=True)
class Step:
    """One reasoning step y: the tokens up to and including a step end.

    text: what its tokens add to the response's, the step end included, EOS excluded; a character that they leave
    incomplete comes with the next step. token_ids: what was sampled, the end token included. log_prob: log π(y | x)
    in nats under the law it was sampled from, summed over token_ids. finished: whether the step ends with EOS.
    log_prob_error: a certified bound on log_prob's error, in nats; inf where the model tells no log-probability.
    thought: of a model that thinks, the characters of `text` up to the last one that is thinking; what follows is its
    answer. vocabulary: that of token_ids, where draft and base have different ones; "" where they share it. beyond:
    tokens that a server sent behind the step's end, which are no part of it, but cost. draft: of several drafts the
    one that wrote it, from 0; log_prob is then that of the mixture which they make together. likely: of a server's, at
    each token the ids that it listed, the most likely first, for a base that scores by ids; else none.
    """

    text: str
    token_ids: Ids
    log_prob: float
    finished: bool
    log_prob_error: float = 0.0
    thought: int = 0
    vocabulary: str = ""
    beyond: int = field(default=0, compare=False)
    draft: int | None = field(default=None, compare=False)
    likely: tuple[Ids, ...] = field(default=(), compare=False, repr=False)


class Turn(NamedTuple):
    """A turn of a conversation. role: "system", "user" or "assistant"."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Prefix:
    """x: a problem, the turns of the conversation before it, and the steps committed so far.

    A backend renders its own prompt ids and appends the steps' ids.
    """

    problem: str
    steps: tuple[Step, ...] = ()
    earlier: tuple[Turn, ...] = ()

    def extended(self, step: Step) -> Prefix:
        """The prefix after committing `step`."""
        return replace(self, steps=(*self.steps, step))

    @property
    def text(self) -> str:
        """The response so far: the steps' texts joined."""
        return "".join(step.text for step in self.steps)


@dataclass(frozen=True, slots=True)
class Ends:
    """Where a step ends, beside EOS: with the first token after which its own bytes hold one of `strings`.

    after_text: only behind a byte of the step that is no blank, or with one.
    """

    strings: tuple[str, ...]
    after_text: bool = False


PARAGRAPH = Ends(("\n\n",))


@dataclass(frozen=True, slots=True)
class Thinking:
    """How a model thinks before it answers: from the token open_id to the token close_id, which belong to it.

    opened: whether its prompts end inside. closing: the token ids that end thinking by force.
    """

    open_id: int
    close_id: int
    opened: bool
    closing: Ids

    def through(self, ids: Ids, inside: bool) -> tuple[bool, int]:
        """Whether thinking goes on behind `ids`, and how many of them stand before what is none of it. inside: whether
        it went on before them."""
        if self.open_id not in ids and self.close_id not in ids:
            return inside, len(ids) if inside else 0
        last = max(place for place, i in enumerate(ids) if i in (self.open_id, self.close_id))
        return (True, len(ids)) if ids[last] == self.open_id else (False, last + 1)

    def after(self, rows: Iterable[Ids]) -> tuple[bool, int]:
        """Whether a response of these rows ends inside, and how many of its tokens are thinking."""
        inside, tokens = self.opened, 0
        for ids in rows:
            inside, thought = self.through(ids, inside)
            tokens += thought
        return inside, tokens


@dataclass(frozen=True, slots=True)
class SamplingLaw:
    """The law all log-probabilities refer to: log-softmax of logits / temperature, nucleus top_p, and the step ends.

    max_step_tokens: a step is cut there, in tokens. eos_ids: token ids that end a response, resolved once for draft and
    base together; None lets each backend use its own `eos_ids`.
    """

    temperature: float = 0.7
    top_p: float = 1.0
    max_step_tokens: int = 512
    ends: Ends = PARAGRAPH
    eos_ids: Ids | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """The name of one random stream. Candidate i of a request uses the stream's i-th child."""

    seed: int
    problem_id: str
    step: int
    phase: str

    def at(self, phase: str) -> Key:
        """The same run, problem and step in another phase."""
        return replace(self, phase=phase)


class Score(NamedTuple):
    """log π(y | x) in nats under a sampling law, with a certified bound on its absolute error (0 where exact)."""

    log_prob: float
    error: float = 0.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What one model was asked for: tokens, calls, wall seconds. generated_positions: forward positions that the
    generated tokens took; of a model in process, candidates of a call share those of their common beginnings."""

    generated_tokens: int = 0
    scored_tokens: int = 0
    calls: int = 0
    seconds: float = 0.0
    generated_positions: int = 0
    discarded_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.generated_tokens + other.generated_tokens,
            self.scored_tokens + other.scored_tokens,
            self.calls + other.calls,
            self.seconds + other.seconds,
            self.generated_positions + other.generated_positions,
            self.discarded_tokens + other.discarded_tokens,
        )


def default_id(problem: str, earlier: Sequence[Turn] = ()) -> str:
    """What names the random streams of a problem that came without an id: a blake2b of its text; of a conversation one
    in a domain of its own, so that no text has the id of a conversation."""
    if not earlier:
        return blake2b(problem.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    told = dumps([*earlier, ("user", problem)])
    return blake2b(told.encode(), digest_size=16, person=b"gsi-conversation").hexdigest()
