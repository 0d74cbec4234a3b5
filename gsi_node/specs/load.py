"""Models and rewards from text: kind:target[@family][?key=value&…], several joined by "|" where a kind takes several.

    hf:/models/Qwen2.5-Math-1.5B-Instruct?device=cuda&dtype=bfloat16      prm:/models/prm@trl      verifier?prior=0.3

grammar.py reads them, kinds.py is the table. Nothing heavy is imported before a model is really loaded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from gsi_node.errors import BackendUnavailable, SpecError, UnreadArgument
from gsi_node.needs import install
from gsi_node.specs.grammar import Spec, json_value, parse_one, parse_spec, quoted
from gsi_node.specs.kinds import MODELS, REWARDS, SpecKind, placed

if TYPE_CHECKING:
    from gsi_node.protocols import Reward, StepModel

_NEXT_DRAFT = re.compile(rf" \+ (?=(?:{'|'.join(MODELS)}):)")
_COUNTED = re.compile(r"(.+)\*([0-9]{1,6})", re.DOTALL)
DEEPEST = 8
"""Wrappers of a reward around another."""


def load_model(spec: str) -> StepModel:
    """The language model a spec names."""
    model: StepModel = _load(spec, MODELS, "model")
    return model


def load_reward(spec: str) -> Reward:
    """The reward model a spec names."""
    reward: Reward = _load(spec, REWARDS, "reward")
    return reward


def load_part(role: str, spec: str) -> Any:
    """What a spec names in a role, "draft", "base" or "reward"; of several drafts a list, each with its count where the
    spec has one."""
    if role == "reward":
        return load_reward(spec)
    given = split_drafts(spec) if role == "draft" else [(spec, None)]
    loaded = [load_model(one) if count is None else (load_model(one), count) for one, count in given]
    return loaded if len(loaded) > 1 else loaded[0]


def load_parts(specs: Mapping[str, str]) -> dict[str, Any]:
    """The same of several roles."""
    return {role: load_part(role, spec) for role, spec in specs.items()}


def split_drafts(text: str) -> list[tuple[str, int | None]]:
    """The specs of several drafts, "A + B" or by counts "A*3 + B*1", each with its count; a single spec as it stands.

    They are told apart at a plus between blanks with a kind of model behind it.
    """
    parts = _NEXT_DRAFT.split(text)
    if len(parts) == 1:
        return [(text, None)]
    found = [_COUNTED.fullmatch(part.strip()) for part in parts]
    return [(one[1], int(one[2])) if one else (part.strip(), None) for part, one in zip(parts, found, strict=True)]


def check_spec(whole: str, kinds: Mapping[str, SpecKind], role: str) -> tuple[Spec, ...]:
    """The parts of a spec that can be, as its kind reads them; nothing is loaded. Raises SpecError."""
    specs = parse_spec(whole)
    known = ", ".join(f"{name} (e.g. {kind.example})" for name, kind in kinds.items())
    wrapper = specs[0].kind in kinds and kinds[specs[0].kind].wraps is not None
    for spec in specs[:1] if wrapper else specs:  # what is wrapped is checked as what it is
        if spec.kind not in kinds:
            near = get_close_matches(spec.kind, kinds, 1)
            meant = f" (is {near[0]} meant?)" if near else ""
            raise SpecError(f"{role} spec {quoted(spec)}: kind {quoted(spec.kind)} is unknown{meant}; known: {known}")
    kind = kinds[specs[0].kind]
    if (deep := _wrappers(specs[0], kinds)) > DEEPEST:
        raise SpecError(f"{role} spec {quoted(whole)} wraps {deep} times, and may {DEEPEST} times")
    if len(specs) > 1 and not kind.many:
        raise SpecError(f"{role} spec {quoted(whole)} joins {len(specs)} parts by '|', but {specs[0].kind} takes one")
    if kind.wraps is not None:
        checked = (_check(specs[0], kind, role), *specs[1:])
        for inside in kind.wraps(*_unwrapped(checked, kind, whole)):
            check_spec(inside, MODELS if kind.models else kinds, role)
        return checked
    checked = tuple(_check(spec, kinds[spec.kind], role) for spec in specs)
    _typed(checked[0], kind)
    return checked


def _load(whole: str, kinds: Mapping[str, SpecKind], role: str) -> Any:
    checked = check_spec(whole, kinds, role)
    kind = kinds[checked[0].kind]
    if kind.wraps is not None:
        inside, options = _unwrapped(checked, kind, whole)
        load = load_model if kind.models else load_reward
        return kind.load([load(spec) for spec in kind.wraps(inside, options)], options)
    options = _typed(checked[0], kind) | ({} if kind.families is None else {"family": checked[0].family})
    try:
        return kind.load(checked, options)
    except UnreadArgument as error:
        known = ", ".join(kind.options)
        raise SpecError(f"{role} spec {quoted(whole)}: {error}; options of {checked[0].kind}: {known}") from error
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise BackendUnavailable(
            f"{role} spec {quoted(whole)} runs in this process, which needs torch: {install('torch')} (models "
            "behind servers, the verifier and the judge do without)"
        ) from error


def _wrappers(spec: Spec, kinds: Mapping[str, SpecKind]) -> int:
    """How many wrappers a spec begins with."""
    words = [spec.kind, *spec.target.split(":")]
    return next((i for i, w in enumerate(words) if w not in kinds or kinds[w].wraps is None), len(words))


def _unwrapped(specs: tuple[Spec, ...], kind: SpecKind, whole: str) -> tuple[tuple[Spec, ...], dict[str, Any]]:
    """The specs inside a wrapper, and its own options, which stand among the last one's."""
    own = tuple(option for option in specs[-1].options if option[0] in kind.options)
    options = _typed(Spec(specs[0].kind, options=own), kind)
    last = replace(specs[-1], options=tuple(option for option in specs[-1].options if option not in own))
    if kind.models:
        families = placed(kind.families or "")
        if last.family not in families or any("?" in spec.target for spec in specs):
            raise SpecError(
                f"spec {quoted(whole)}: want a model's spec and behind it @ and one of {', '.join(families)}, then all "
                f"options, the model's among them: {kind.example}"
            )
        options["family"], last = last.family, replace(last, family=None)
    first, *others = (*specs[:-1], last)
    return (parse_one(str(first).removeprefix(f"{first.kind}:"), whole), *others), options


def _check(spec: Spec, kind: SpecKind, role: str) -> Spec:
    """The spec with its target and family as the kind reads them; SpecError if it reads none such."""
    if spec.family is not None and kind.families is None:
        spec = Spec(spec.kind, f"{spec.target}@{spec.family}", None, spec.options)
    elif spec.family is not None and spec.family not in (families := placed(kind.families or "")):
        raise SpecError(
            f"{role} spec {quoted(spec)}: family {quoted(spec.family)} is unknown; known: {', '.join(families)}"
        )
    if "\0" in spec.target:
        raise SpecError(f"{role} spec {quoted(spec)}: no file and no server has \\0 in its name")
    if kind.targets is None and not spec.target:
        raise SpecError(f"{role} spec {quoted(spec)} names no target; write for instance {kind.example}")
    if kind.targets is not None and spec.target not in (kind.targets or ("",)):
        wanted = " or ".join(f"{spec.kind}:{name}" for name in kind.targets) or spec.kind
        raise SpecError(f"{role} spec {quoted(spec)}: target {quoted(spec.target)} is unknown; write {wanted}")
    return spec


def _typed(spec: Spec, kind: SpecKind) -> dict[str, Any]:
    """The options' values; those that are none of the kind's own as `arguments` of a chat template."""
    values: dict[str, Any] = {}
    for key, value in spec.options:
        if key not in kind.options:
            values.setdefault("arguments", {})[key] = _argument(spec, kind, key, value)
            continue
        try:
            values[key] = kind.options[key](value)
        except ValueError as error:
            raise SpecError(f"spec {quoted(spec)}: option {key}={quoted(value)} should be {error}") from error
    return values


def _argument(spec: Spec, kind: SpecKind, key: str, value: str) -> object:
    """The value of an argument of the chat template. SpecError for a name like one of the kind's own options, too."""
    known = ", ".join(kind.options) or "none"
    unknown = f"spec {quoted(spec)}: option {quoted(key)} is unknown; known options of {spec.kind}: {known}"
    if near := get_close_matches(key, kind.options, 1, 0.8):
        raise SpecError(f"{unknown}; is {near[0]} meant?")
    if not kind.templated:
        raise SpecError(unknown)
    try:
        return json_value(value)
    except ValueError as error:
        raise SpecError(
            f"{unknown}; as an argument of the chat template, {key}={value:.80} should be {error}"
        ) from error
