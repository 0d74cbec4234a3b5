"""A forward that gave NaN once leaves nothing behind: keys and values that it came from are not kept."""

from __future__ import annotations

import pytest
import torch

from gsi_node.errors import InvalidLogProb, RewardOutOfRange
from gsi_node.models.transformers import TransformersModel
from gsi_node.rewards.prm.in_process import TransformersPRM
from gsi_node.specs.load import load_model, load_reward
from gsi_node.types import Key, Prefix, SamplingLaw, Step
from tests.miniature import Miniatures

LAW = SamplingLaw(max_step_tokens=6)
KEY = Key(0, "p", 0, "draft")


@pytest.fixture(scope="module")
def miniatures(tmp_path_factory: pytest.TempPathFactory) -> Miniatures:
    return Miniatures(tmp_path_factory.mktemp("miniatures"))


@pytest.mark.parametrize("call", ["sample", "score"])
def test_a_language_model_that_gave_nan_once(call: str, miniatures: Miniatures) -> None:
    model = load_model(f"hf:{miniatures.folder()}")
    assert isinstance(model, TransformersModel)
    prefix = Prefix("1+2")
    steps = model.sample(prefix, 2, KEY, LAW)
    wanted = model.score(prefix, steps, LAW)
    model.close()
    weight = next(p for name, p in model.engine.model.named_parameters() if "layers.0" in name)
    with torch.no_grad():
        before = weight.clone()
        weight.fill_(torch.nan)
        with pytest.raises(InvalidLogProb, match="NaN"):
            model.sample(prefix, 2, KEY, LAW) if call == "sample" else model.score(prefix, steps, LAW)
        weight.copy_(before)
    assert model.sample(prefix, 2, KEY, LAW) == steps
    assert [score.log_prob for score in model.score(prefix, steps, LAW)] == pytest.approx(
        [score.log_prob for score in wanted]
    )


def test_a_reward_model_that_gave_nan_once(miniatures: Miniatures) -> None:
    reward = load_reward(f"prm:{miniatures.folder(reward=True)}@trl")
    assert isinstance(reward, TransformersPRM)
    prefix, steps = Prefix("1+2"), [Step("so 3\n\n", (1,), 0.0, False)]
    wanted = reward(prefix, steps)
    reward.close()
    weight = next(p for name, p in reward.engine.model.named_parameters() if "layers.0" in name)
    with torch.no_grad():
        before = weight.clone()
        weight.fill_(torch.nan)
        with pytest.raises(RewardOutOfRange):
            reward(prefix, steps)
        weight.copy_(before)
    assert reward(prefix, steps) == pytest.approx(wanted)
