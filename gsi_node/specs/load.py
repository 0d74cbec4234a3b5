"""Models and rewards from text: kind:target[@family][?key=value&…], several joined by "|" where a kind takes several.

    hf:/models/Qwen2.5-Math-1.5B-Instruct?device=cuda&dtype=bfloat16      prm:/models/prm@trl      verifier?prior=0.3

spec.py is the grammar, the tables below are the kinds. Nothing heavy is imported before a model is really loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from gsi_node.errors import BackendUnavailable, ConfigError, SpecError
from gsi_node.specs.grammar import Spec, flag, integer, name, number, numbers, parse_one, parse_spec, quoted, size, text

if TYPE_CHECKING:
    from gsi_node.protocols import Reward, StepModel

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

    return TransformersModel.from_pretrained(specs[0].target, **_prompted(options))


def _prompted(options: dict[str, Any]) -> dict[str, Any]:
    """The options with those of the prompt, and of its file, as one record; ConfigError for what stands in both."""
    from gsi_node.text.prompt import FIELDS, PromptSettings, read_prompt

    file = options.pop("prompt", None)
    fields = {} if file is None else read_prompt(file)
    own = {name: options.pop(name) for name in FIELDS if name in options}
    if twice := ", ".join(sorted(fields.keys() & own.keys())):
        raise ConfigError(f"prompt file {file} and the spec both set {twice}; leave one of them out")
    return {**options, "prompt": PromptSettings(**fields, **own)}


def _pocket(specs: tuple[Spec, ...], options: dict[str, Any]) -> Any:
    from gsi_node.models.transformers import TransformersModel
    from gsi_node.pocket import path

    return TransformersModel.from_pretrained(path(specs[0].target), **options)


def _server(specs: tuple[Spec, ...], options: dict[str, Any]) -> Any:
    from gsi_node.models.servers.probe import connect

    parts = [spec.target.partition("#") for spec in specs]
    if len({(spec.kind, part[2]) for spec, part in zip(specs, parts, strict=True)}) > 1:
        raise SpecError(f"replicas must be of one kind and serve one model, got {' | '.join(map(str, specs))}")
    return connect(specs[0].kind, [part[0] for part in parts], parts[0][2], **_prompted(options))


def _remote(role: str) -> Loader:
    """A loader of the client of `python -m gsi_node.service`, for a "model" or a "reward"."""

    def load(specs: tuple[Spec, ...], options: dict[str, Any]) -> Any:
        from gsi_node.models.remote import connect_remote

        return connect_remote(role, [spec.target for spec in specs], **options)

    return load


def _prm(specs: tuple[Spec, ...], options: dict[str, Any]) -> Any:
    from gsi_node.rewards.prm.in_process import TransformersPRM

    return TransformersPRM.from_pretrained(specs[0].target, family=specs[0].family, **options)


def _pocket_reward(specs: tuple[Spec, ...], options: dict[str, Any]) -> Any:
    from gsi_node.pocket import path
    from gsi_node.rewards.prm.in_process import TransformersPRM

    return TransformersPRM.from_pretrained(path("reward"), **options)


def _connected(module: str, name: str) -> Loader:
    """A loader that calls `connect` of a class of the package with the replicas, the served model and the options."""

    def load(specs: tuple[Spec, ...], options: dict[str, Any]) -> Any:
        parts = [spec.target.partition("#") for spec in specs]
        if len({(spec.kind, spec.family, part[2]) for spec, part in zip(specs, parts, strict=True)}) > 1:
            raise SpecError(f"replicas must serve one model in one way, got {' | '.join(map(str, specs))}")
        family = {"family": specs[0].family} if REWARDS[specs[0].kind].families else {}
        connect = getattr(import_module(f"gsi_node.{module}"), name).connect
        return connect([part[0] for part in parts], parts[0][2], **family, **options)

    return load


def _ensemble(specs: tuple[Spec, ...], options: dict[str, Any]) -> Any:
    from gsi_node.rewards.wrappers.ensemble import Ensemble

    if options.get("how") in ("min", "product"):  # a step with nothing to check then leaves the others' word
        neutral = (("prior", "1"),)
        specs = tuple(replace(s, options=s.options or neutral) if s.kind == "verifier" else s for s in specs)
    return Ensemble([load_reward(str(spec)) for spec in specs], **options)


def _made(module: str, name: str) -> Loader:
    """A loader that calls a class or function of the package with the options alone."""
    return lambda specs, options: getattr(import_module(f"gsi_node.{module}"), name)(**options)


def _around(module: str, name: str) -> Loader:
    """A loader that calls a class or function of the package with the reward inside and the options."""

    def load(specs: tuple[Spec, ...], options: dict[str, Any]) -> Any:
        inner = load_reward("|".join(map(str, specs)))
        return getattr(import_module(f"gsi_node.{module}"), name)(inner, **options)

    return load


_WHERE: Typed = {
    "device": name,
    "dtype": name,
    "compile": flag,
    "quantization": name,
    "cache_bytes": size,
    "batch_bytes": size,
}
_FAMILIES = ("qwen", "skywork", "shepherd", "rlhflow", "trl-chat", "trl", "orm")
_PROMPT: Typed = {"system_prompt": text, "use_chat_template": flag}
_TEXTS: Typed = {**_PROMPT, "template": name, "prompt": name}
_HF: Typed = {**_WHERE, **_TEXTS, "logits_bytes": size, "gguf": name}
_REACH: Typed = {"timeout": number, "attempts": integer, "deadline": number, "api_key_env": name}
_SERVER: Typed = {**_TEXTS, **_REACH, "tokenizer": name, "top_k": integer, "sampled": name}

DEEPEST = 8
"""Wrappers of a reward around another."""
MODELS: dict[str, Kind] = {
    "pocket": Kind("pocket:draft", _pocket, {**_WHERE, "logits_bytes": size}, targets=("draft", "base")),
    "hf": Kind("hf:/models/base?device=cpu&dtype=float32", _hf, _HF),
    "server": Kind("server:http://HOST:8000/v1#MODEL?tokenizer=/models/base", _server, _SERVER, many=True),
    "sglang": Kind("sglang:http://HOST:30000?tokenizer=/models/base", _server, _SERVER, many=True),
    "remote": Kind("remote:http://HOST:8100", _remote("model"), _REACH, many=True),
}
REWARDS: dict[str, Kind] = {
    "pocket": Kind("pocket", _pocket_reward, _WHERE, targets=()),
    "verifier": Kind(
        "verifier?prior=0.5", _made("rewards.verifier.reward", "VerifierReward"), {"prior": number}, targets=()
    ),
    "prm": Kind("prm:/models/prm@trl", _prm, {**_WHERE, **_PROMPT, "separator": name}, families=_FAMILIES),
    "server": Kind(
        "server:http://HOST:8000/v1#MODEL@qwen?tokenizer=/models/prm",
        _connected("rewards.prm.served", "ServedReward"),
        {**_PROMPT, **_REACH, "tokenizer": name, "separator": name, "api": name, "raw": flag},
        families=_FAMILIES,
        many=True,
    ),
    "remote": Kind("remote:http://HOST:8100", _remote("reward"), _REACH, many=True),
    "ensemble": Kind(
        "ensemble:verifier|pocket?how=min", _ensemble, {"how": name, "weights": numbers}, many=True, wraps=True
    ),
    "judge": Kind("judge:http://HOST:8000/v1#MODEL", _connected("rewards.judge", "JudgeReward"), _REACH, many=True),
    "calibrated": Kind(
        "calibrated:prm:/models/prm",
        _around("rewards.wrappers.calibration", "CalibratedReward"),
        {"file": name},
        many=True,
        wraps=True,
    ),
    "cached": Kind(
        "cached:pocket", _around("rewards.wrappers.cached", "CachedReward"), {"entries": integer}, many=True, wraps=True
    ),
    "noisy": Kind(
        "noisy:pocket?share=0.3",
        _around("rewards.wrappers.noisy", "NoisyReward"),
        {"share": number, "seed": integer},
        many=True,
        wraps=True,
    ),
}


def load_model(spec: str) -> StepModel:
    """The language model a spec names."""
    model: StepModel = _load(spec, MODELS, "model")
    return model


def load_reward(spec: str) -> Reward:
    """The reward model a spec names."""
    reward: Reward = _load(spec, REWARDS, "reward")
    return reward


def _load(whole: str, kinds: Mapping[str, Kind], role: str) -> Any:
    specs = parse_spec(whole)
    known = ", ".join(f"{name} (e.g. {kind.example})" for name, kind in kinds.items())
    for spec in specs:
        if spec.kind not in kinds:
            raise SpecError(f"{role} spec {quoted(spec)}: kind {quoted(spec.kind)} is unknown; known: {known}")
    kind = kinds[specs[0].kind]
    if (deep := _wrappers(specs[0], kinds)) > DEEPEST:
        raise SpecError(f"{role} spec {quoted(whole)} wraps {deep} times, and may {DEEPEST} times")
    if len(specs) > 1 and not kind.many:
        raise SpecError(f"{role} spec {quoted(whole)} joins {len(specs)} parts by '|', but {specs[0].kind} takes one")
    checked = tuple(_check(spec, kinds[spec.kind], role) for spec in specs)
    named, options = _unwrapped(checked, kind, whole) if kind.wraps else (checked, _typed(checked[0], kind))
    try:
        return kind.load(named, options)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise BackendUnavailable(
            f"{role} spec {quoted(whole)} runs in this process, which needs torch: pip install torch (models behind "
            "servers, the verifier and the judge do without)"
        ) from error


def _wrappers(spec: Spec, kinds: Mapping[str, Kind]) -> int:
    """How many wrappers a spec begins with."""
    words = [spec.kind, *spec.target.split(":")]
    return next((i for i, word in enumerate(words) if word not in kinds or not kinds[word].wraps), len(words))


def _unwrapped(specs: tuple[Spec, ...], kind: Kind, whole: str) -> tuple[tuple[Spec, ...], dict[str, Any]]:
    """The specs inside a wrapper, and its own options, which stand among the last one's."""
    own = tuple(option for option in specs[-1].options if option[0] in kind.options)
    options = _typed(Spec(specs[0].kind, options=own), kind)
    last = replace(specs[-1], options=tuple(option for option in specs[-1].options if option not in own))
    first, *others = (*specs[:-1], last)
    return (parse_one(str(first).removeprefix(f"{first.kind}:"), whole), *others), options


def _check(spec: Spec, kind: Kind, role: str) -> Spec:
    """The spec with its target and family as the kind reads them; SpecError if it reads none such."""
    if spec.family is not None and not kind.families:
        spec = Spec(spec.kind, f"{spec.target}@{spec.family}", None, spec.options)
    if spec.family is not None and spec.family not in kind.families:
        raise SpecError(
            f"{role} spec {quoted(spec)}: family {quoted(spec.family)} is unknown; known: {', '.join(kind.families)}"
        )
    if "\0" in spec.target:
        raise SpecError(f"{role} spec {quoted(spec)}: no file and no server has \\0 in its name")
    if kind.targets is None and not spec.target:
        raise SpecError(f"{role} spec {quoted(spec)} names no target; write for instance {kind.example}")
    if kind.targets is not None and spec.target not in (kind.targets or ("",)):
        wanted = " or ".join(f"{spec.kind}:{name}" for name in kind.targets) or spec.kind
        raise SpecError(f"{role} spec {quoted(spec)}: target {quoted(spec.target)} is unknown; write {wanted}")
    return spec


def _typed(spec: Spec, kind: Kind) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in spec.options:
        if key not in kind.options:
            known = ", ".join(kind.options) or "none"
            told = f"spec {quoted(spec)}: option {quoted(key)} is unknown"
            raise SpecError(f"{told}; known options of {spec.kind}: {known}")
        try:
            values[key] = kind.options[key](value)
        except ValueError as error:
            raise SpecError(f"spec {quoted(spec)}: option {key}={quoted(value)} should be {error}") from error
    return values
