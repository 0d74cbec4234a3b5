"""Models and rewards from text: kind:target[@family][?key=value&…], several joined by "|" where a kind takes several.

    hf:/models/Qwen2.5-Math-1.5B-Instruct?device=cuda&dtype=bfloat16      prm:/models/prm@trl      verifier?prior=0.3

The options start at the last "?", the family at the last "@" unless "/" or ":" follows it. In option values %26, %7C
and their like stand for "&", "|" and so on. Nothing heavy is imported before a model is really loaded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from gsi_node.errors import SpecError

if TYPE_CHECKING:
    from gsi_node.models.base import StepModel
    from gsi_node.rewards.base import Reward

_ADDRESS = re.compile(r"https?://")
_FAMILY = re.compile(r"(.*)@([A-Za-z0-9][A-Za-z0-9_.+-]*)")


@dataclass(frozen=True, slots=True)
class Spec:
    """One parsed spec. `options` are still text: the kind's loader types them."""

    kind: str
    target: str = ""
    family: str | None = None
    options: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        target = f":{self.target}" if self.target else ""
        family = f"@{self.family}" if self.family else ""
        options = "&".join(f"{key}={quote(value, safe='/:,.=')}" for key, value in self.options)
        return f"{self.kind}{target}{family}" + (f"?{options}" if options else "")


def parse_spec(text: str) -> tuple[Spec, ...]:
    """The specs that `text` joins by "|", one or more; SpecError for what cannot be read."""
    if not text.strip():
        raise SpecError("the spec is empty; write kind:target, for instance pocket:draft")
    parts = [part.strip() for part in text.split("|")]
    kind = parts[0].partition(":")[0]  # replicas may be written as bare addresses: server:http://A/v1#M | http://B/v1#M
    return tuple(
        _parse_one(f"{kind}:{part}" if i and _ADDRESS.match(part) else part, text) for i, part in enumerate(parts)
    )


def _parse_one(part: str, whole: str) -> Spec:
    if not part:
        raise SpecError(f"spec {whole!r} has nothing on one side of '|'")
    body, mark, query = part.rpartition("?")
    if not mark:
        body, query = part, ""
    kind, _, target = body.partition(":")
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", kind):
        raise SpecError(
            f"spec {part!r} starts with {kind!r}, which is no kind; write kind:target, e.g. hf:/models/base"
        )
    family = None
    if found := _FAMILY.fullmatch(target):
        target, family = found.groups()
    options: dict[str, str] = {}
    for item in query.split("&") if query else ():
        key, equals, value = item.partition("=")
        if not key or not equals:
            raise SpecError(f"spec {part!r}: option {item!r} is not of the form key=value")
        if key in options:
            raise SpecError(f"spec {part!r}: option {key!r} is given twice")
        options[key] = unquote(value)
    return Spec(kind, target, family, tuple(options.items()))


def _text(value: str) -> str:
    return value


def _flag(value: str) -> bool:
    if value not in ("true", "false"):
        raise ValueError("true or false")
    return value == "true"


def _integer(value: str) -> int:
    if not re.fullmatch(r"[+-]?\d+", value):
        raise ValueError("a whole number")
    return int(value)


def _number(value: str) -> float:
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", value):
        raise ValueError("a number")
    return float(value)


def _numbers(value: str) -> list[float]:
    try:
        return [_number(part) for part in value.split(",")]
    except ValueError as error:
        raise ValueError("numbers with commas between, such as 1,3") from error


def _size(value: str) -> int:
    """Bytes, with an optional binary unit: 512M, 4G."""
    found = re.fullmatch(r"(\d+)([KMG]?)", value)
    if not found:
        raise ValueError("a number of bytes such as 512M or 4G")
    return int(found[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[found[2]]


Typed = Mapping[str, Callable[[str], object]]
Loader = Callable[[tuple[Spec, ...], dict[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the table. load(specs, typed options of the first spec) gets one spec unless `many`.

    wraps: the target is itself a spec. load then gets the specs inside, and of the last spec's options those it knows.
    """

    example: str
    load: Loader
    options: Typed = field(default_factory=dict)
    families: tuple[str, ...] = ()
    targets: tuple[str, ...] | None = None  # None: any text, but some; (): none at all
    many: bool = False
    wraps: bool = False


def _hf(specs: tuple[Spec, ...], options: dict[str, Any]) -> Any:
    from gsi_node.models.transformers import TransformersModel

    return TransformersModel.from_pretrained(specs[0].target, **options)


def _pocket(specs: tuple[Spec, ...], options: dict[str, Any]) -> Any:
    from gsi_node.models.pocket import path
    from gsi_node.models.transformers import TransformersModel

    return TransformersModel.from_pretrained(path(specs[0].target), **options)


def _server(specs: tuple[Spec, ...], options: dict[str, Any]) -> Any:
    from gsi_node.models.probe import connect

    parts = [spec.target.partition("#") for spec in specs]
    if len({(spec.kind, part[2]) for spec, part in zip(specs, parts, strict=True)}) > 1:
        raise SpecError(f"replicas must be of one kind and serve one model, got {' | '.join(map(str, specs))}")
    return connect(specs[0].kind, [part[0] for part in parts], parts[0][2], **options)


def _prm(specs: tuple[Spec, ...], options: dict[str, Any]) -> Any:
    from gsi_node.rewards.prm import TransformersPRM

    return TransformersPRM.from_pretrained(specs[0].target, family=specs[0].family, **options)


def _pocket_reward(specs: tuple[Spec, ...], options: dict[str, Any]) -> Any:
    from gsi_node.models.pocket import path
    from gsi_node.rewards.prm import TransformersPRM

    return TransformersPRM.from_pretrained(path("reward"), **options)


def _verifier(specs: tuple[Spec, ...], options: dict[str, Any]) -> Any:
    from gsi_node.rewards.verifier import VerifierReward

    return VerifierReward(**options)


def _ensemble(specs: tuple[Spec, ...], options: dict[str, Any]) -> Any:
    from gsi_node.rewards.ensemble import Ensemble

    if options.get("how") in ("min", "product"):  # a step with nothing to check then leaves the others' word
        neutral = (("prior", "1"),)
        specs = tuple(replace(s, options=s.options or neutral) if s.kind == "verifier" else s for s in specs)
    return Ensemble([load_reward(str(spec)) for spec in specs], **options)


def _cached(specs: tuple[Spec, ...], options: dict[str, Any]) -> Any:
    from gsi_node.rewards.cached import CachedReward

    return CachedReward(load_reward("|".join(map(str, specs))), **options)


_WHERE: Typed = {"device": _text, "dtype": _text, "cache_bytes": _size}
_FAMILIES = ("qwen", "skywork", "shepherd", "rlhflow", "trl-chat", "trl", "orm")
_PROMPT: Typed = {"system_prompt": _text, "use_chat_template": _flag}
_REACH: Typed = {"timeout": _number, "attempts": _integer, "api_key_env": _text}
_SERVER: Typed = {**_PROMPT, **_REACH, "tokenizer": _text, "template": _text, "top_k": _integer, "sampled": _text}

MODELS: dict[str, Kind] = {
    "pocket": Kind("pocket:draft", _pocket, {**_WHERE, "logits_bytes": _size}, targets=("draft", "base")),
    "hf": Kind("hf:/models/base?device=cpu&dtype=float32", _hf, {**_WHERE, **_PROMPT, "logits_bytes": _size}),
    "server": Kind("server:http://HOST:8000/v1#MODEL?tokenizer=/models/base", _server, _SERVER, many=True),
    "sglang": Kind("sglang:http://HOST:30000?tokenizer=/models/base", _server, _SERVER, many=True),
}
REWARDS: dict[str, Kind] = {
    "pocket": Kind("pocket", _pocket_reward, _WHERE, targets=()),
    "verifier": Kind("verifier?prior=0.5", _verifier, {"prior": _number}, targets=()),
    "prm": Kind("prm:/models/prm@trl", _prm, {**_WHERE, **_PROMPT, "separator": _text}, families=_FAMILIES),
    "ensemble": Kind(
        "ensemble:verifier|pocket?how=min", _ensemble, {"how": _text, "weights": _numbers}, many=True, wraps=True
    ),
    "cached": Kind("cached:pocket?entries=4096", _cached, {"entries": _integer}, many=True, wraps=True),
}


def load_model(spec: str) -> StepModel:
    """The language model a spec names."""
    model: StepModel = _load(spec, MODELS, "model")
    return model


def load_reward(spec: str) -> Reward:
    """The reward model a spec names."""
    reward: Reward = _load(spec, REWARDS, "reward")
    return reward


def _load(text: str, kinds: Mapping[str, Kind], role: str) -> Any:
    specs = parse_spec(text)
    known = ", ".join(f"{name} (e.g. {kind.example})" for name, kind in kinds.items())
    for spec in specs:
        if spec.kind not in kinds:
            raise SpecError(f"{role} spec {str(spec)!r}: kind {spec.kind!r} is unknown; known: {known}")
    kind = kinds[specs[0].kind]
    if len(specs) > 1 and not kind.many:
        raise SpecError(f"{role} spec {text!r} joins {len(specs)} parts by '|', but {specs[0].kind} takes one")
    checked = tuple(_check(spec, kinds[spec.kind], role) for spec in specs)
    if kind.wraps:
        return kind.load(*_unwrapped(checked, kind, text))
    return kind.load(checked, _typed(checked[0], kind))


def _unwrapped(specs: tuple[Spec, ...], kind: Kind, text: str) -> tuple[tuple[Spec, ...], dict[str, Any]]:
    """The specs inside a wrapper, and its own options, which stand among the last one's."""
    own = tuple(option for option in specs[-1].options if option[0] in kind.options)
    options = _typed(Spec(specs[0].kind, options=own), kind)
    last = replace(specs[-1], options=tuple(option for option in specs[-1].options if option not in own))
    first, *others = (*specs[:-1], last)
    return (_parse_one(str(first).removeprefix(f"{first.kind}:"), text), *others), options


def _check(spec: Spec, kind: Kind, role: str) -> Spec:
    """The spec with its target and family as the kind reads them; SpecError if it reads none such."""
    if spec.family is not None and not kind.families:
        spec = Spec(spec.kind, f"{spec.target}@{spec.family}", None, spec.options)
    if spec.family is not None and spec.family not in kind.families:
        raise SpecError(
            f"{role} spec {str(spec)!r}: family {spec.family!r} is unknown; known: {', '.join(kind.families)}"
        )
    if kind.targets is None and not spec.target:
        raise SpecError(f"{role} spec {str(spec)!r} names no target; write for instance {kind.example}")
    if kind.targets is not None and spec.target not in (kind.targets or ("",)):
        wanted = " or ".join(f"{spec.kind}:{name}" for name in kind.targets) or spec.kind
        raise SpecError(f"{role} spec {str(spec)!r}: target {spec.target!r} is unknown; write {wanted}")
    return spec


def _typed(spec: Spec, kind: Kind) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in spec.options:
        if key not in kind.options:
            known = ", ".join(kind.options) or "none"
            raise SpecError(f"spec {str(spec)!r}: option {key!r} is unknown; known options of {spec.kind}: {known}")
        try:
            values[key] = kind.options[key](value)
        except ValueError as error:
            raise SpecError(f"spec {str(spec)!r}: option {key}={value!r} should be {error}") from error
    return values
