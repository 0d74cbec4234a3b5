"""A process reward model behind vLLM's pooling endpoint as a Reward. Token ids are sent, written as prm.py writes them.

Recorded shapes: POST /pooling {"model", "input": [[id, …], …], "task", "use_activation"} answers {"data": [{"index",
"data": …}, …]} with, for each input, one row of outputs a token (pooling type ALL), one a step token (STEP), or one in
all (task classify). The older form, POST /v1/embeddings, answers {"data": [{"index", "embedding": …}]}, raw outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, isnan
from typing import TYPE_CHECKING, Any, Literal, Self

from gsi_node.errors import BackendError, ConfigError, RewardOutOfRange, SpecError
from gsi_node.host.paths import expanded
from gsi_node.identity import fingerprint_of
from gsi_node.models.servers.agreement import equal, listed
from gsi_node.models.servers.dialect import token_id
from gsi_node.models.servers.http import Failed, Transport
from gsi_node.models.servers.reach import USUAL, Reach
from gsi_node.rewards.prm.families import Family, checked_wish, find_family, recognise
from gsi_node.rewards.prm.layout import NONE, LayoutOptions
from gsi_node.rewards.prm.rendered import RenderedReward
from gsi_node.text.codec import Codec
from gsi_node.text.tokenizers import served_tokenizer
from gsi_node.types import Ids, Prefix

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Api = Literal["pooling", "embeddings"]
_PATHS = {"pooling": "/pooling", "embeddings": "/v1/embeddings"}
_SUM = 0.02  # how far two probabilities may be from summing to 1: a server's bfloat16
_LOOKED_AT = ("1+1=2.", "1+1=3.", "Paris is a city.", "So the answer is \\boxed{2}.")
_APART = 0.05  # how far two servers of one model may be apart, in P(good): bfloat16
_RAW = "Add ?raw=true if the server was started without activation, or check that it serves a model of this family"


class ServedReward(RenderedReward):
    """P(good) of each candidate step, all candidates of a prefix in one request."""

    def __init__(
        self,
        transport: Transport,
        tokenizer: PreTrainedTokenizerBase,
        model: str,
        family: Family,
        *,
        config: Mapping[str, Any],
        wish: LayoutOptions,
        api: str = "pooling",
        raw: bool = False,
    ) -> None:
        """model: the served name. raw: the server returns outputs, not probabilities; the older api always does."""
        if api not in _PATHS:
            raise ConfigError(f"reward server api={api!r} is unknown; known: {', '.join(_PATHS)}")
        if family.pooled is None:
            raise ConfigError(
                f"family {family.name!r} reads a language model's next token, which no pooling endpoint gives; "
                f"run it in process with prm:NAME@{family.name}"
            )
        self._transport = transport
        self._model = model
        self._names = frozenset((model,))
        self._family = family
        self._api = api
        self._raw = raw or api == "embeddings"
        name = f"server:{transport.name}#{model}"
        self._codec = Codec(tokenizer, name)
        layout = family.layout(self._codec, checked_wish(family, wish), config)
        super().__init__(name, layout, None, traces=family.traces)

    @classmethod
    def connect(
        cls,
        urls: Sequence[str],
        model: str,
        *,
        family: str | None = None,
        tokenizer: str | None = None,
        wish: LayoutOptions = NONE,
        api: str = "pooling",
        raw: bool = False,
        reach: Reach = USUAL,
    ) -> Self:
        """The reward model that equal servers at `urls` serve as `model`, asked once to see that it answers.

        tokenizer: the folder or hub name of its tokenizer; the served name where None.
        """
        if not model:
            raise SpecError("the reward server's model is not named; write server:http://HOST:PORT/v1#MODEL@family")
        source = tokenizer or model
        config = _config(source)
        found = find_family(family) if family else recognise(config, model)
        transport = Transport([url.rstrip("/").removesuffix("/v1") for url in urls], reach)
        try:
            tokenizer_files = served_tokenizer(source, f"server:{transport.name}#{model}")
            reward = cls(transport, tokenizer_files, model, found, config=config, wish=wish, api=api, raw=raw)
            transport.wait(equal(transport, reward._look, reward._same))
        except BaseException:
            transport.close()
            raise
        return reward

    @property
    def fingerprint(self) -> str:
        """What is known of the served model: its name, how it is written, encoded and read; its weights are not."""
        settings = (self._model, self._family.name, self._api, self._raw, self.layout.shape)
        first = f"server {settings} {self._codec.fingerprint(1 << 31)}"
        parts = {"tokenizer": self._codec.content, "reading": self._family.reading}
        return fingerprint_of(first, parts | {"conversation": self.layout.conversation})

    def values(self, ids: Ids, rows: Sequence[Ids]) -> list[float]:
        return self._transport.wait(self._values(self._transport, ids, rows))

    async def _values(self, transport: Transport, ids: Ids, rows: Sequence[Ids]) -> list[float]:
        inputs = [[*ids, *row] for row in rows]
        body: dict[str, Any] = {"model": self._model, "input": inputs, "encoding_format": "float"}
        if self._api == "pooling":
            body |= {"task": self._family.pooled, "use_activation": not self._raw}
        what, entries = f"rewards of {len(rows)} candidates", sum(map(len, inputs)) * self._family.outputs

        def read(answer: Any) -> list[float]:
            return self._read(answer, inputs)

        return await transport.ask(_PATHS[self._api], body, read, what, entries=entries)

    async def _look(self, one: Transport) -> list[float]:
        """What a server says of a few steps, after its list of models."""
        _, self._names = await listed(one, self._model)
        rows = [self._candidate_ids(text, True) for text in _LOOKED_AT]
        found = await self._values(one, self.prefix_ids(Prefix("What is 1+1?")), rows)
        if any(map(isnan, found)):
            raise RewardOutOfRange(f"{one.name} gives rewards {found} of the steps {_LOOKED_AT}; {self._suspicion()}")
        return found

    def _same(self, kept: list[float], found: list[float], url: str) -> None:
        apart = max(abs(a - b) for a, b in zip(kept, found, strict=True))
        if not apart <= _APART:
            raise BackendError(
                f"{url} gives other rewards of the same steps than {self.name} did when the run began, by {apart:.2g}: "
                f"another model, quantisation or mode is behind {self._model!r} there. Serve one at every address"
            )

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _read(self, answer: Any, inputs: Sequence[list[int]]) -> list[float]:
        named, used = answer.get("model"), (answer.get("usage") or {}).get("prompt_tokens")
        if isinstance(named, str) and named not in self._names:
            raise Failed(f"model {named!r:.80} answered for {self._model!r}", SpecError, again=False)
        if used is not None and used != sum(map(len, inputs)):
            raise Failed(f"it read {used!r:.20} tokens where {sum(map(len, inputs))} were sent", again=False)
        entries = {token_id(entry["index"]): entry for entry in answer["data"]}
        if sorted(entries) != list(range(len(inputs))):
            raise Failed(f"{len(entries)} results for {len(inputs)} inputs", BackendError)
        key = "data" if self._api == "pooling" else "embedding"
        return [self._value(entries[i][key], ids) for i, ids in enumerate(inputs)]

    def _value(self, pooled: Any, ids: list[int]) -> float:
        """P(good) at the last token of one input; NaN where the server says NaN."""
        outputs = [_real(value) for value in self._last(pooled, ids)]
        if len(outputs) != self._family.outputs:
            raise Failed(
                f"{len(outputs)} outputs at a step, where family {self._family.name!r} has {self._family.outputs}",
                fix="Check that the server serves a model of this family",
                again=False,
            )
        if self._raw or not all(map(isfinite, outputs)):
            return self._family.good(outputs)
        if any(not 0 <= value <= 1 for value in outputs) or (len(outputs) > 1 and abs(sum(outputs) - 1) > _SUM):
            raise Failed(f"{outputs} are no probabilities", fix=_RAW, again=False)
        return self._family.good_of(outputs)

    def _last(self, pooled: Any, ids: list[int]) -> list[Any]:
        """The outputs at the last token, out of whatever rows the server pools."""
        if self._family.pooled == "classify":
            return list(pooled)
        steps = ids.count(self.layout.mark[-1])
        flat = self._family.outputs == 1 and not isinstance(pooled[-1], list)
        if len(pooled) not in (len(ids), steps):
            raise Failed(
                f"{len(pooled)} rows of outputs for {len(ids)} tokens with {steps} step tokens",
                fix="Start the server with a pooler that returns all tokens or the step tokens, and check ?tokenizer=…",
                again=False,
            )
        return [pooled[-1]] if flat else list(pooled[-1])

    def _suspicion(self) -> str:
        return "look into the server's log, and at its dtype"


def _real(value: Any) -> float:
    """The number that a server wrote, NaN and infinities included; TypeError for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r:.60} is no number")
    return float(value)


def _config(source: str) -> Mapping[str, Any]:
    """config.json beside the tokenizer; nothing where there is none."""
    from transformers import PreTrainedConfig  # it loads torch where it is installed

    path = expanded(source)
    try:
        config, _ = PreTrainedConfig.get_config_dict(str(path) if path.is_dir() else source)
    except (OSError, ValueError):
        return {}
    return dict(config)
