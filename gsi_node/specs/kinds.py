"""The kinds of specs: one row each. What a row loads is named by its place, and imported when it is first loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from operator import attrgetter
from typing import Any

from gsi_node.errors import SpecError
from gsi_node.models.servers.dialects import DIALECTS
from gsi_node.specs.grammar import Spec, flag, integer, name, number, numbers, positive, size, text, unless_false

Specs = tuple[Spec, ...]
Options = dict[str, Any]
Types = Mapping[str, Callable[[str], object]]


def placed(place: str) -> Any:
    """What stands at "module:name" of the package."""
    module, _, attribute = place.partition(":")
    return attrgetter(attribute)(import_module(f"gsi_node.{module}"))


@dataclass(frozen=True, slots=True)
class Loader:
    """Calls what stands at `place` with arguments(specs) and the options; `records`: those that are given as one."""

    place: str
    arguments: Callable[[Any], tuple[Any, ...]]
    records: tuple[Grouped, ...] = ()

    def __call__(self, specs: Sequence[Any], options: Options) -> Any:
        grouped = {record.keyword: record.taken(options) for record in self.records}
        return placed(self.place)(*self.arguments(specs), **grouped, **options)


@dataclass(frozen=True, slots=True)
class Grouped:
    """Options that are given as one value: made at `place` of those that the spec gives."""

    keyword: str
    place: str
    names: tuple[str, ...]

    def taken(self, options: Options) -> Any:
        """The record, whose options are taken out of `options`."""
        return placed(self.place)(**{key: options.pop(key) for key in self.names if key in options})


@dataclass(frozen=True, slots=True)
class SpecKind:
    """One row of the table. load(specs, typed options of the first spec) gets one spec unless `many`.

    families: the place of a table whose names may follow "@"; load gets the one given as option `family`. wraps: the
    target is itself a spec; which ones to load, and load gets those rewards, and of the last spec's options its own.
    models: what it wraps is a language model, and the family of the last part its own. templated: load gets further
    options as `arguments` of a chat template, JSON values.
    """

    example: str
    load: Callable[[Any, Options], Any]
    options: Types = field(default_factory=dict)
    families: str | None = None
    targets: tuple[str, ...] | None = None  # None: any text, but some; (): none at all
    many: bool = False
    wraps: Callable[[Specs, Options], list[str]] | None = None
    models: bool = False
    templated: bool = False


def _nothing(specs: Specs) -> tuple[()]:
    return ()


def _target(specs: Specs) -> tuple[str]:
    return (specs[0].target,)


def _pocket(specs: Specs) -> tuple[Any]:
    return (placed("pocket:path")(specs[0].target or "reward"),)


def _addresses(specs: Specs) -> tuple[list[str]]:
    return ([spec.target for spec in specs],)


def _replicas(specs: Specs) -> tuple[list[str], str]:
    """The addresses of equal servers, and the model they serve."""
    parts = [spec.target.partition("#") for spec in specs]
    if len({(spec.kind, spec.family, part[2]) for spec, part in zip(specs, parts, strict=True)}) > 1:
        raise SpecError(
            f"replicas must be of one kind and serve one model in one way, got {' | '.join(map(str, specs))}"
        )
    return [part[0] for part in parts], parts[0][2]


def _one(parts: Sequence[Any]) -> tuple[Any]:
    return (parts[0],)


def _all(rewards: Sequence[Any]) -> tuple[Sequence[Any]]:
    return (rewards,)


def _joined(specs: Specs, options: Options) -> list[str]:
    return ["|".join(map(str, specs))]


def _each(specs: Specs, options: Options) -> list[str]:
    if options.get("how") in ("min", "product"):  # a step with nothing to check then leaves the others' word
        neutral = (("prior", "1"),)
        specs = tuple(replace(s, options=s.options or neutral) if s.kind == "verifier" else s for s in specs)
    return [str(spec) for spec in specs]


_WHERE: Types = {
    "device": name,
    "dtype": name,
    "compile": flag,
    "quantization": name,
    "pack": flag,
    "cache_bytes": size,
    "batch_bytes": size,
}
_CHAT: Types = {"system_prompt": text, "use_chat_template": flag, "date": name}
_TEXTS: Types = {**_CHAT, "template": name, "prompt": name}
_HOW: Types = {"timeout": number, "attempts": integer, "deadline": number, "api_key_env": name}
_PROMPT = Grouped("prompt", "text.prompt_file:told_prompt", (*_TEXTS, "arguments"))
_WISH = Grouped("wish", "rewards.prm.layout:LayoutOptions", (*_CHAT, "separator", "arguments"))
_REACH = Grouped("reach", "models.servers.reach:Reach", tuple(_HOW))
_FAMILIES = "rewards.prm.families:FAMILIES"

_LANGUAGE_MODEL = "models.transformers:TransformersModel.from_pretrained"
_REWARD_MODEL = "rewards.prm.in_process:TransformersPRM.from_pretrained"

MODELS: dict[str, SpecKind] = {
    "pocket": SpecKind(
        "pocket:draft",
        Loader(_LANGUAGE_MODEL, _pocket),
        {**_WHERE, "logits_bytes": size, "graphs": unless_false},
        targets=("draft", "base"),
    ),
    "hf": SpecKind(
        "hf:/models/base?device=cpu&dtype=float32",
        Loader(_LANGUAGE_MODEL, _target, (_PROMPT,)),
        {**_WHERE, **_TEXTS, "logits_bytes": size, "graphs": unless_false, "gguf": name},
        templated=True,
    ),
    **{
        kind: SpecKind(
            dialect.example,
            Loader("models.servers.probe:connect", lambda specs: (specs[0].kind, *_replicas(specs)), (_PROMPT, _REACH)),
            {**_TEXTS, **_HOW, "tokenizer": name, "top_k": integer, "sampled": name},
            many=True,
            templated=True,
        )
        for kind, dialect in DIALECTS.items()
    },
    "chat": SpecKind(
        "chat:http://HOST:8000/v1#MODEL?prefill=continue_final_message",
        Loader("models.servers.chat_probe:connect", _replicas, (_PROMPT, _REACH)),
        {"prefill": name, "tokenizer": name, "system_prompt": text, "prompt": name, **_HOW},
        many=True,
        templated=True,
    ),
    "remote": SpecKind(
        "remote:http://HOST:8100", Loader("models.remote:RemoteModel.connect", _addresses, (_REACH,)), _HOW, many=True
    ),
}
REWARDS: dict[str, SpecKind] = {
    "pocket": SpecKind("pocket", Loader(_REWARD_MODEL, _pocket), _WHERE, targets=()),
    "verifier": SpecKind(
        "verifier?prior=0.5",
        Loader("rewards.verifier.reward:VerifierReward", _nothing),
        {"prior": number},
        targets=(),
    ),
    "prm": SpecKind(
        "prm:/models/prm@trl",
        Loader(_REWARD_MODEL, _target, (_WISH,)),
        {**_WHERE, **_CHAT, "separator": name},
        families=_FAMILIES,
        templated=True,
    ),
    "server": SpecKind(
        "server:http://HOST:8000/v1#MODEL@qwen?tokenizer=/models/prm",
        Loader("rewards.prm.served:ServedReward.connect", _replicas, (_WISH, _REACH)),
        {**_CHAT, **_HOW, "tokenizer": name, "separator": name, "api": name, "raw": flag},
        families=_FAMILIES,
        many=True,
        templated=True,
    ),
    "remote": SpecKind(
        "remote:http://HOST:8100", Loader("models.remote:RemoteReward.connect", _addresses, (_REACH,)), _HOW, many=True
    ),
    "ensemble": SpecKind(
        "ensemble:verifier|pocket?how=min",
        Loader("rewards.wrappers.ensemble:Ensemble", _all),
        {"how": name, "weights": numbers},
        many=True,
        wraps=_each,
    ),
    "judge": SpecKind(
        "judge:http://HOST:8000/v1#MODEL",
        Loader("rewards.judge:JudgeReward.connect", _replicas, (_REACH,)),
        {**_HOW, "max_tokens": positive, "read": name},
        many=True,
    ),
    "generative": SpecKind(
        "generative:hf:/models/verifier@yesno?chains=4&dtype=bfloat16",
        Loader("rewards.generative.reward:GenerativeReward", _one),
        {"chains": positive, "max_tokens": positive, "seed": integer, "temperature": number},
        families="rewards.generative.formats:FORMATS",
        many=True,
        wraps=_joined,
        models=True,
    ),
    "calibrated": SpecKind(
        "calibrated:prm:/models/prm",
        Loader("rewards.wrappers.calibration:CalibratedReward", _one),
        {"file": name},
        many=True,
        wraps=_joined,
    ),
    "cached": SpecKind(
        "cached:pocket",
        Loader("rewards.wrappers.cached:CachedReward", _one),
        {"entries": integer},
        many=True,
        wraps=_joined,
    ),
    "noisy": SpecKind(
        "noisy:pocket?share=0.3",
        Loader("rewards.wrappers.noisy:NoisyReward", _one),
        {"share": number, "seed": integer},
        many=True,
        wraps=_joined,
    ),
}
