"""A method is a row: who proposes, three rules (rules.py), who falls back. Adding one is adding a row.

A fallback is itself a method, run by the same stages under π_B. Everything that lists methods, asks models, explains a
refusal, searches a threshold or draws a plot reads these rows.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Literal

from gsi_node.errors import ConfigError
from gsi_node.step.endings import StepEndRule, read_rule
from gsi_node.step.fields import Settings, about
from gsi_node.step.rules import (
    ARGMAX,
    CLIPPED_TILTED_REWARD,
    EXPONENTIAL,
    LOG_RATIO,
    MEAN_WEIGHT,
    PLAIN_REWARD,
    REWARD,
    REWARD_REACHES_DELTA,
    SCORE_A_TOKEN,
    SOFTMAX,
    TILTED_REWARD,
    TILTED_REWARD_REACHES_U,
    Accept,
    Choose,
    Need,
    Rule,
    Weigh,
)


@dataclass(frozen=True, slots=True)
class Method:
    """propose: which model drafts ("specdec": the base, whose tokens the draft model proposes), and `single` where it
    always draws one candidate, whatever n says. weigh None: candidates are not weighed. accept None: always. fallback
    None: what is chosen is committed. step_end: where its steps end, its fallback's too, unless a setting says
    otherwise. source: where it was published.

    Raises ConfigError for rules that cannot go together.
    """

    name: str
    propose: Literal["draft", "base", "specdec"]
    weigh: Weigh | None = None
    choose: Choose = SOFTMAX
    accept: Accept | None = None
    fallback: Method | None = None
    _: KW_ONLY
    single: bool = False
    step_end: StepEndRule = "paragraph"
    source: str = ""

    def __post_init__(self) -> None:
        read_rule(self.step_end)
        if self.scans and (self.weigh is None or self.weigh.bound is None):
            raise ConfigError(f"method {self.name}: scans, but its weights have no bound; give its weigh rule one")
        if self.accept is not None and self.fallback is None:
            raise ConfigError(f"method {self.name}: refuses candidates, but has no fallback; give it one")
        if self.accept is not None and "weights" in self.accept.needs and not self.uses_weights:
            raise ConfigError(f"method {self.name}: accepts by the mean weight of a batch, but has no such weights")
        below = self.fallback
        if below is not None and (below.propose != "base" or below.uses_score or below.accept is not None):
            raise ConfigError(
                f"method {self.name}: its fallback {below.name} has to commit a step of the base, without a ratio"
            )

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Those it has, of weigh, choose, accept; nothing is chosen among candidates that are not weighed."""
        chooses = () if self.weigh is None else (self.weigh, self.choose)
        return chooses if self.accept is None else (*chooses, self.accept)

    @property
    def needs(self) -> frozenset[Need]:
        """What must be known of the candidates."""
        return frozenset[Need]().union(*(rule.needs for rule in self.rules))

    @property
    def uses_ratio(self) -> bool:
        """Whether ℓ is computed: the draft's own log-probabilities are read, too."""
        return "ratio" in self.needs

    @property
    def uses_score(self) -> bool:
        """Whether π_B scores the candidates of π_S."""
        return not self.needs.isdisjoint(("ratio", "score"))

    @property
    def by_text(self) -> bool:
        """Whether it takes models that tell no log-probabilities, or have different vocabularies: nothing but the texts
        of steps passes between them."""
        return self.propose != "specdec" and not self.uses_score

    @property
    def uses_reward(self) -> bool:
        """Whether the candidates' rewards are asked for."""
        return "reward" in self.needs

    @property
    def scans(self) -> bool:
        """Whether candidates are judged in a random order, chunk by chunk, until one hits the envelope."""
        return self.choose.scans

    @property
    def uses_weights(self) -> bool:
        """Whether the weights are importance weights of a whole batch: ess and log_mean_weight mean something."""
        return self.weigh is not None and self.weigh.importance and not self.scans

    @property
    def models(self) -> frozenset[str]:
        """The roles this method asks: of "draft", "base", "reward"."""
        own = {"draft", "base"} if self.propose == "specdec" else {self.propose}
        own |= ({"base"} if self.uses_score else set()) | ({"reward"} if self.uses_reward else set())
        return frozenset(own) | (self.fallback.models if self.fallback else frozenset())

    def cells(self) -> tuple[str, str, str, str, str]:
        """Its line in a table of HEADINGS."""
        proposes = f"{'1' if self.single else 'n'} of {'base, drafted' if self.propose == 'specdec' else self.propose}"
        chosen = "–" if self.weigh is None else self.choose.shown.format(self.weigh.shown)
        accepts = "always" if self.accept is None else self.accept.shown
        return self.name, proposes, chosen, accepts, self.fallback.name if self.fallback else "–"


HEADINGS = ("method", "candidates", "chosen by", "accepted if", "otherwise")
SYMBOLS = "r reward · ℓ = log π_base − log π_draft · r̃ = r + ℓ/β · w = exp(β·r̃) · w̄ mean w"

_SBON_BASE = Method("sbon-base", "base", REWARD, source="arXiv 2505.03156")
_BASE = Method("base", "base", single=True)
_ROWS = (
    Method("gsi", "draft", TILTED_REWARD, SOFTMAX, TILTED_REWARD_REACHES_U, _SBON_BASE, source="arXiv 2506.04118"),
    Method("gsi-no-fallback", "draft", TILTED_REWARD, source="arXiv 2506.04118"),
    Method("gsi-ic", "draft", TILTED_REWARD, SOFTMAX, MEAN_WEIGHT, _SBON_BASE, source="ours"),
    Method(
        "expgsi",
        "draft",
        CLIPPED_TILTED_REWARD,
        EXPONENTIAL,
        TILTED_REWARD_REACHES_U,
        _SBON_BASE,
        source="arXiv 2609.21899",
    ),
    Method("rsd", "draft", None, SOFTMAX, REWARD_REACHES_DELTA, _BASE, single=True, source="arXiv 2501.19324"),
    Method("rsd-n", "draft", REWARD, SOFTMAX, REWARD_REACHES_DELTA, _SBON_BASE, source="arXiv 2501.19324"),
    Method("sbon-draft", "draft", REWARD, source="arXiv 2505.03156"),
    _SBON_BASE,
    Method("bon-draft", "draft", PLAIN_REWARD, ARGMAX),
    Method("bon-base", "base", PLAIN_REWARD, ARGMAX),
    Method("draft", "draft", single=True),
    _BASE,
    Method("cgs", "draft", LOG_RATIO, ARGMAX, step_end="tokens:16", source="arXiv 2606.01682"),
    Method("lgs", "draft", SCORE_A_TOKEN, ARGMAX, step_end="tokens:16", source="arXiv 2606.01682"),
    Method("specdec-sbon", "specdec", REWARD, source="arXiv 2211.17192"),
    Method("specdec", "specdec", single=True, source="arXiv 2211.17192"),
)
METHODS: dict[str, Method] = {method.name: method for method in _ROWS}


def text_methods() -> str:
    """The names of the methods that take models without log-probabilities or a common vocabulary."""
    return ", ".join(method.name for method in METHODS.values() if method.by_text)


def notes() -> list[str]:
    """The lines under a table of METHODS: its symbols, the options that set them, what its rules add."""
    read = {name for method in METHODS.values() for rule in method.rules for name in rule.reads}
    fields = [(name, about(name)) for name in (*(f for f in Settings.model_fields if f in read), "n")]
    options = {
        told.symbol: f"--{name.replace('_', '-')}" if told.option else f"--set {name}=…"
        for name, told in fields
        if told.symbol
    }
    own: dict[str, list[str]] = {}  # what rules note, with the methods that have them
    for method in METHODS.values():
        if told := ", and ".join(rule.note for rule in method.rules if rule.note):
            own.setdefault(told, []).append(method.name)
    settings = " · ".join(f"{symbol}: {option}" for symbol, option in options.items())
    return [SYMBOLS, settings, *(f"{', '.join(names)}: {told}" for told, names in own.items())]
