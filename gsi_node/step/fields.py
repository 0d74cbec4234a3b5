"""The settings of a run, one field each, with what each says of itself. The defaults are those of arXiv 2506.04118.

Adding a setting is adding a field here: GSIConfig, GSIContext, the options and help texts follow. Imports no numpy, so
that --help answers at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic_core import CoreSchema

Finite = Annotated[float, Field(allow_inf_nan=False)]
AtLeastOne = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, slots=True)
class About:
    """What a setting says of itself: one line of help; the symbol that tables of methods write for it; whether commands
    have an option of its name; whether one run may override it (not where the graph or the law is made of it); told:
    whether it belongs to what a run is, which goes on under no other value.
    """

    help: str
    symbol: str = ""
    option: bool = False
    override: bool = True
    told: bool = True

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, object]:
        """The line of help is what LangGraph's tools show of a field."""
        return {**handler(schema), "description": self.help}


class Settings(BaseModel):
    """The fields of GSIConfig (arXiv 2506.04118, §5: β = 20, u = 0.5, T = 0.7, top_p = 1). Rules read them here."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    method: Annotated[
        str,
        About("how a step is decided: gsi, rsd-n, sbon-base …; --list-methods explains them", "", True, override=False),
    ] = "gsi"
    n: Annotated[AtLeastOne, About("candidates a step; the paper uses 16", "n", option=True)] = 16
    n_fallback: Annotated[AtLeastOne | None, About("candidates of the fallback (default: n)")] = None
    beta: Annotated[Finite, Field(ge=0), About("inverse temperature β of the tilt", "β", option=True)] = 20.0
    threshold: Annotated[Finite, About("u: a draft step with tilted reward below u is refused", "u", option=True)] = 0.5
    delta: Annotated[Finite, About("δ: rsd and rsd-n refuse a draft step with a reward below δ", "δ")] = 0.7
    log_c: Annotated[Finite | None, About("log of gsi-ic's constant c, in nats (default: β·u)", "log c")] = None
    log_ratio_clip: Annotated[
        Finite, About("expgsi's r̃ is r + min(ℓ, clip)/β, in nats; `calibrate_log_ratio_clip` finds one")
    ] = 0.5
    chunk_size: Annotated[AtLeastOne, About("candidates that expgsi judges at once")] = 4
    gamma: Annotated[AtLeastOne, About("tokens that specdec drafts before a verification")] = 4
    temperature: Annotated[
        Finite, Field(gt=0), About("sampling temperature of both models", option=True, override=False)
    ] = 0.7
    top_p: Annotated[Finite, Field(gt=0, le=1), About("nucleus of both models' sampling", override=False)] = 1.0
    step_end: Annotated[
        str | tuple[str, ...] | list[str] | None,  # a list is read as a tuple
        About(
            "where a step ends: paragraph, line, tokens:K, or a JSON list such as '[\".\"]' (default: the method's, "
            "paragraph)",
            option=True,
            override=False,
        ),
    ] = None
    max_steps: Annotated[AtLeastOne, About("steps at most", option=True)] = 64
    max_step_tokens: Annotated[AtLeastOne, About("tokens a step at most, of the model that writes it")] = 512
    max_tokens: Annotated[AtLeastOne, About("tokens a response at most, each step's of the model that writes it")] = (
        4096
    )
    max_thinking_tokens: Annotated[
        AtLeastOne | None, About("tokens of thinking at most, then it is closed by force (default: no bound)")
    ] = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63), About("the same seed gives the same run", option=True)] = 0
    record: Annotated[
        Literal["summary", "candidates"], About("candidates: step records keep every candidate", override=False)
    ] = "summary"
    max_log_ratio_error: Annotated[
        Finite,
        Field(ge=0),
        About("nats; a run stops where a log-ratio is known less well (servers only)", override=False),
    ] = 0.5
    allow_degraded: Annotated[
        bool, About("where the draft is lost, the base goes on alone, by the fallback", override=False)
    ] = False
    earlier_messages: Annotated[
        Literal["carry", "ignore", "refuse"],
        About("messages before the last human one: carry them to the models, ignore or refuse them", override=False),
    ] = "carry"
    lookahead: Annotated[
        int,
        Field(ge=0),
        About("likely choices behind which the idle draft begins the next step; 0: none", override=False, told=False),
    ] = 0
    judge_early: Annotated[
        bool,
        About("reward and base judge candidates as they end, while others are drawn", override=False, told=False),
    ] = False

    @property
    def resolved_log_c(self) -> float:
        """log c of gsi-ic, in nats: log_c, or β·u where it is not set."""
        return self.beta * self.threshold if self.log_c is None else self.log_c


def about(name: str) -> About:
    """What a field says of itself. TypeError for one that does not."""
    said = [item for item in Settings.model_fields[name].metadata if isinstance(item, About)]
    if not said:
        raise TypeError(
            f"{name}: a setting says what it is: Annotated[{Settings.model_fields[name].annotation}, About(…)]"
        )
    return said[0]


def help_of(name: str, defaults: Mapping[str, object]) -> str:
    """A line for --help: what a field is, and its default, or that of `defaults`."""
    default = defaults.get(name, Settings.model_fields[name].default)
    if default is None:
        return about(name).help
    shown = f"{default:g}" if isinstance(default, float) else str(default).lower()
    return f"{about(name).help} (default {shown})"


def with_option() -> list[str]:
    """The fields that have an option of their own, in a command line's order."""
    return [name for name in Settings.model_fields if about(name).option]
