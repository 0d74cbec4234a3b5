"""The families of process reward models: how each is recognised, written and read. A family is one record below.

Sources: the model cards of Qwen2.5-Math-PRM, Skywork-o1-Open-PRM, Math-Shepherd and RLHFlow's PRMs, and TRL's
PRMTrainer; the code that VersaPRM (arXiv 2502.06737) and ReasonFlux-PRM (arXiv 2506.18896) were published with.
docs/rewards.md says what of it was confirmed, and shows how to add one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, inf, isfinite, log, nan
from typing import Any, Literal

from gsi_node.errors import ConfigError
from gsi_node.rewards.prm.layout import (
    LayoutOptions,
    StepLayout,
    chat_layout,
    lines_layout,
    marker,
    plain_layout,
    response_layout,
    separator_ids,
    spaced_layout,
    tagged_layout,
    turns_layout,
)
from gsi_node.text.codec import Codec

Head = Literal["labels", "sequence", "mlp", "value", "words"]
"""Where the outputs come from: a token classifier; a sequence classifier's score; score.0 and score.2 with a ReLU
between; v_head.summary; two words of a language model."""
Read = Callable[[Sequence[float]], float]

QWEN_SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."


def sigmoid(value: float) -> float:
    """1/(1 + e^−x)."""
    return 1.0 / (1.0 + exp(-value)) if value >= 0 else exp(value) / (1.0 + exp(value))


def second(outputs: Sequence[float]) -> float:
    """softmax(outputs)[1] of two outputs."""
    return sigmoid(outputs[1] - outputs[0])


def first(outputs: Sequence[float]) -> float:
    """softmax(outputs)[0] of two outputs."""
    return sigmoid(outputs[0] - outputs[1])


def only(outputs: Sequence[float]) -> float:
    """The sigmoid of the one output."""
    return sigmoid(outputs[0])


@dataclass(frozen=True, slots=True)
class Family:
    """How one family of PRMs is recognised, loaded, written and read.

    known_by(config, lower-case name): whether a checkpoint is of this family. outputs: their number at a position.
    layout: ids of problem and steps, from the tokenizer, the user's wishes and the config. read: the outputs at the
    last token of a candidate to P(good). words: the two words of a language model, good first. pooled: the task under
    which vLLM's pooling endpoint serves it, None where it cannot. wishes: the LayoutOptions that a user may settle;
    plain: without a chat template, unless the user wishes for it. traces: whether it knows the thinking before an
    answer, and reads a response that thinks as it is written.
    """

    name: str
    known_by: Callable[[Mapping[str, Any], str], bool]
    head: Head
    outputs: int
    layout: Callable[[Codec, LayoutOptions, Mapping[str, Any]], StepLayout]
    read: Read
    words: tuple[str, str] | None = None
    pooled: str | None = "token_classify"
    wishes: tuple[str, ...] = ()
    plain: bool = False
    traces: bool = False

    @property
    def reading(self) -> tuple[object, ...]:
        """What determines the number read from a model, for fingerprints: where from, and what some outputs give."""
        given = ([(i + 1) * (-0.75) ** (i + k) for i in range(self.outputs)] for k in range(4))
        return self.head, self.outputs, self.words, [round(self.read(outputs), 9) for outputs in given]

    def good(self, outputs: Sequence[float]) -> float:
        """P(good) of the outputs at a step; NaN unless all are finite, so that no overflow becomes a certainty."""
        return self.read(outputs) if all(map(isfinite, outputs)) else nan

    def good_of(self, probabilities: Sequence[float]) -> float:
        """P(good) where a server gives the probabilities that the outputs stand for: read from their logarithms, whose
        softmax they are, or from the log-odds of a single one."""
        if len(probabilities) == 1:
            (p,) = probabilities
            return self.read([_log(p) - _log(1.0 - p)])
        return self.read([_log(p) for p in probabilities])


def _log(p: float) -> float:
    return log(p) if p > 0.0 else -inf


def _architecture(config: Mapping[str, Any]) -> str:
    return str((config.get("architectures") or [""])[0])


def _token_classifier(config: Mapping[str, Any]) -> bool:
    return _architecture(config).endswith("ForTokenClassification")


def _separated(codec: Codec, wish: LayoutOptions, config: Mapping[str, Any]) -> StepLayout:
    text = wish.separator or str(config.get("step_separator") or "\n")
    return chat_layout(codec, wish, separator_ids(codec, text), text)


def _marked(codec: Codec, wish: LayoutOptions) -> StepLayout:
    return chat_layout(codec, wish, marker(codec, "<extra_0>"), "<extra_0>")


def _qwen(codec: Codec, wish: LayoutOptions, config: Mapping[str, Any]) -> StepLayout:
    return _marked(codec, replace(wish, system_prompt=QWEN_SYSTEM) if wish.system_prompt is None else wish)


_ALL = ("separator", "system_prompt", "use_chat_template")
FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(  # before qwen, whose architecture it may name
            "reasonflux",
            lambda config, name: "reasonflux-prm" in name,
            "mlp",
            2,
            lambda codec, wish, config: _marked(codec, wish),
            second,
            wishes=("system_prompt",),
            traces=True,
        ),
        Family(
            "qwen",
            lambda config, name: _architecture(config) == "Qwen2ForProcessRewardModel" or "qwen2.5-math-prm" in name,
            "mlp",
            2,
            _qwen,
            second,
            wishes=("system_prompt",),
        ),
        Family(
            "skywork",
            lambda config, name: _architecture(config) == "Qwen2ForPrmModel" or "skywork-o1-open-prm" in name,
            "value",
            1,
            lambda codec, wish, config: lines_layout(codec),
            only,
        ),
        Family(
            "shepherd",
            lambda config, name: "shepherd" in name and not _token_classifier(config),
            "words",
            2,
            lambda codec, wish, config: tagged_layout(codec, "ки"),
            first,
            words=(" +", " -"),
            pooled=None,
        ),
        Family(
            "rlhflow",
            lambda config, name: "rlhflow" in name or "-prm-deepseek-data" in name or "-prm-mistral-data" in name,
            "words",
            2,
            lambda codec, wish, config: turns_layout(codec, wish, "+"),
            first,
            words=("+", "-"),
            pooled=None,
            wishes=("system_prompt",),
        ),
        Family(
            "versa",
            lambda config, name: "versaprm" in name,
            "words",
            2,
            lambda codec, wish, config: spaced_layout(codec),
            first,
            words=("+", "-"),
            pooled=None,
        ),
        Family(
            "trl-chat",
            lambda config, name: _token_classifier(config) and "step_separator" in config,
            "labels",
            2,
            _separated,
            second,
            wishes=_ALL,
        ),
        Family(
            "trl",
            lambda config, name: _token_classifier(config),
            "labels",
            2,
            lambda codec, wish, config: (
                _separated(codec, wish, config)
                if wish.use_chat_template
                else plain_layout(codec, wish.separator or "\n")
            ),
            second,
            wishes=_ALL,
            plain=True,
        ),
        Family(
            "orm",
            lambda config, name: _architecture(config).endswith("ForSequenceClassification"),
            "sequence",
            1,
            lambda codec, wish, config: response_layout(codec, wish),
            only,
            pooled="classify",
            wishes=("system_prompt",),
        ),
    )
}
"""In the order in which a checkpoint is tried."""


def find_family(name: str) -> Family:
    """The family of that name; ConfigError listing the known ones."""
    if name not in FAMILIES:
        raise ConfigError(f"PRM family {name!r} is unknown; known: {', '.join(FAMILIES)}")
    return FAMILIES[name]


def recognise(config: Mapping[str, Any], name: str) -> Family:
    """The family of a checkpoint, from its config (as written in config.json) or name; ConfigError if there is none."""
    for family in FAMILIES.values():
        if family.known_by(config, name.lower()):
            return family
    found = _architecture(config) or "no architecture"
    raise ConfigError(
        f"reward model {name}: its config says {found}, and its name no family of reward models; "
        f"say which with prm:NAME@family, one of {', '.join(FAMILIES)}"
    )


def checked_wish(family: Family, wish: LayoutOptions) -> LayoutOptions:
    """`wish`, if the family can follow it; ConfigError for what it fixes itself."""
    if wish.separator is not None and "separator" not in family.wishes:
        raise ConfigError(f"family {family.name!r} has its own separator; leave separator={wish.separator!r} out")
    untemplated = "system_prompt" not in family.wishes or (family.plain and not wish.use_chat_template)
    asked = {"system_prompt": wish.system_prompt, "date": wish.date, "arguments of one": wish.arguments or None}
    if untemplated and (found := [name for name, value in asked.items() if value is not None]):
        raise ConfigError(f"family {family.name!r} uses no chat template, so there is no place for {found[0]}")
    if wish.use_chat_template is not None and "use_chat_template" not in family.wishes:
        raise ConfigError(f"family {family.name!r} fixes its prompt; leave use_chat_template out")
    return wish
