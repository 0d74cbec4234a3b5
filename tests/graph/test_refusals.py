"""What the node refuses, and how it says so: settings, contexts, unfitting models, unusable numbers."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from gsi_node.errors import ConfigError, GSIError, InvalidLogProb, LawMismatch, RewardOutOfRange, VocabularyMismatch
from gsi_node.graph.build import create_gsi
from gsi_node.step.config import GSIConfig
from gsi_node.tables.models import TableModel
from gsi_node.tables.rewards import TableReward
from gsi_node.types import SamplingLaw
from tests.graph.world import compiled, config, models


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"n": 0}, "n"),
        ({"beta": 0.0}, "beta"),
        ({"beta": -1.0, "method": "sbon-base"}, "beta"),
        ({"beta": math.inf}, "beta"),
        ({"threshold": math.nan}, "threshold"),
        ({"log_c": math.inf}, "log_c"),
        ({"temperature": 0.0}, "temperature"),
        ({"top_p": 0.9}, "top_p"),
        ({"top_p": 1.1, "method": "rsd"}, "top_p"),
        ({"method": "gsy"}, "gsi-no-fallback"),
        ({"max_steps": 0}, "max_steps"),
        ({"betta": 1.0}, "betta"),
        ({"record": "all"}, "record"),
        ({"seed": 2**63}, "seed"),
    ],
)
def test_bad_settings_are_named(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        GSIConfig(**fields)


def test_good_settings() -> None:
    assert GSIConfig(method="sbon-base", beta=0.0, top_p=0.9).beta == 0.0
    assert GSIConfig(threshold=-3.0, log_c=-50.0).resolved_log_c == -50.0
    assert GSIConfig().resolved_log_c == 10.0
    with pytest.raises(ValidationError):
        GSIConfig().beta = 3.0


class Refusing(TableModel):
    def supports(self, law: SamplingLaw) -> None:
        raise LawMismatch(f"temperature {law.temperature} is not to be had")


class Foreign(TableModel):
    vocabulary = "another token map"


def test_models_that_do_not_fit_are_refused_when_the_graph_is_made() -> None:
    with pytest.raises(LawMismatch, match=r"temperature 0\.7"):
        create_gsi(**{**models(), "base": Refusing({"a": 1.0})}, config=config())
    with pytest.raises(VocabularyMismatch, match="another token map"):
        create_gsi(**{**models(), "base": Foreign({"a": 1.0})}, config=config())
    with pytest.raises(ConfigError, match="load_model"):
        create_gsi(**{**models(), "draft": "pocket:draft"}, config=config())
    with pytest.raises(ConfigError, match="reward"):
        create_gsi(**{**models(), "reward": None}, config=config())
    create_gsi(**{**models(), "reward": None, "base": None}, config=config(method="draft"))


@pytest.mark.parametrize("value", [math.nan, 1.5, -0.1])
def test_a_reward_out_of_its_range_names_model_and_candidate(value: float) -> None:
    parts = {**models(), "reward": TableReward(lambda prefix, step: value, name="broken")}
    with pytest.raises(RewardOutOfRange, match=r"broken .* candidate 0"):
        compiled(parts=parts).invoke({"problem": "p"})


def test_a_nan_likelihood_and_a_missing_candidate_are_errors() -> None:
    class Nan(TableModel):
        def score(self, prefix: Any, steps: Any, law: Any) -> Any:
            return [math.nan for _ in steps]

    class Few(TableModel):
        def sample(self, prefix: Any, n: int, key: Any, law: Any) -> Any:
            return super().sample(prefix, n - 1, key, law)

    with pytest.raises(InvalidLogProb, match="candidate 0"):
        compiled(parts={**models(), "base": Nan({"a": 1.0}, name="nan")}).invoke({"problem": "p"})
    with pytest.raises(GSIError, match="2 steps for 3 candidates"):
        compiled(parts={**models(), "draft": Few({"a\n\n": 1.0})}).invoke({"problem": "p"})
