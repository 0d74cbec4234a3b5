"""TransformersPRM against plain transformers: the read-out, one separator a step, causality, batches, caches."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForTokenClassification

from gsi_node.errors import BackendUnavailable, ConfigError, RewardOutOfRange
from gsi_node.protocols import Reward
from gsi_node.rewards.prm.in_process import TransformersPRM
from gsi_node.rewards.prm.layout import LayoutOptions
from gsi_node.types import Prefix, Step
from tests.miniature import CONTEXT, Miniatures

PREFIX = Prefix("12+3")
TEXTS = ("Step 1: 12+3=15", " so 15", "the sum is 7", "x", "1.2")


def step(text: str, finished: bool = False) -> Step:
    """A step with a text; a PRM reads nothing else."""
    return Step(text, (1,), 0.0, finished)


def committed(*texts: str) -> Prefix:
    """PREFIX with committed steps."""
    return Prefix(PREFIX.problem, tuple(step(text) for text in texts))


def oracle(miniatures: Miniatures, prm: TransformersPRM, texts: Sequence[str], dtype: str = "float64") -> list[float]:
    """P(label 1) at the separator after each step, from one full forward over ids put together by hand."""
    model = AutoModelForTokenClassification.from_pretrained(
        miniatures.folder(reward=True, dtype=dtype), dtype=getattr(torch, dtype)
    )
    tokenizer = prm._codec.tokenizer
    messages = [{"role": "user", "content": PREFIX.problem}]
    rendered = str(tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))
    ids = list(tokenizer.encode(rendered, add_special_tokens=False))
    ends = []
    for text in texts:
        ids += [*tokenizer.encode(text, add_special_tokens=False), *tokenizer.encode("\n\n", add_special_tokens=False)]
        ends.append(len(ids) - 1)
    with torch.no_grad():
        logits = model(torch.tensor([ids]), use_cache=False).logits[0]
    return [float(torch.softmax(logits[end], -1)[1]) for end in ends]


def test_rewards_are_those_of_a_full_forward(miniatures: Miniatures) -> None:
    prm = miniatures.reward(dtype="float64")
    assert isinstance(prm, Reward)
    for position in range(len(TEXTS)):
        prefix = committed(*TEXTS[:position])
        rewards = prm(prefix, [step(text + "\n\n") for text in TEXTS])
        wanted = [oracle(miniatures, prm, [*TEXTS[:position], text])[-1] for text in TEXTS]
        assert rewards == pytest.approx(wanted, abs=1e-9)
    assert all(0 < reward < 1 for reward in rewards)


@pytest.mark.gpu
def test_rewards_on_cuda_are_those_of_the_cpu(miniatures: Miniatures) -> None:
    """To 1e-6 only: transformers computes qwen2's norms and rotary angles in float32, whatever the model's type."""
    prm = miniatures.reward(dtype="float64", device="cuda")
    whole = oracle(miniatures, prm, TEXTS)
    for position, text in enumerate(TEXTS):
        rewards = prm(committed(*TEXTS[:position]), [step(other) for other in (text, *TEXTS)])
        assert rewards[0] == pytest.approx(whole[position], abs=1e-6)
        assert rewards[1 + position] == pytest.approx(rewards[0], abs=1e-6)


def test_the_read_out_of_a_step_ignores_later_steps(miniatures: Miniatures) -> None:
    prm = miniatures.reward(dtype="float64")
    whole = oracle(miniatures, prm, TEXTS)
    found = [prm(committed(*TEXTS[:i]), [step(text)])[0] for i, text in enumerate(TEXTS)]
    assert found == pytest.approx(whole, abs=1e-9)


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\n\n\n", "<eos>", "\n\n<eos>", "\n\n<eos>\n"])
def test_any_ending_becomes_one_separator(miniatures: Miniatures, end: str) -> None:
    prm = miniatures.reward()
    (separator,) = prm.prefix_ids(committed("x"))[-1:]
    plain = prm.prefix_ids(committed("1+1=2", "so 2"))
    assert prm.prefix_ids(committed("1+1=2" + end, "so 2" + end)) == plain
    assert plain.count(separator) == 2
    assert prm(PREFIX, [step("1+1=2" + end)]) == prm(PREFIX, [step("1+1=2")])


def test_a_full_stop_is_not_part_of_the_separator(miniatures: Miniatures) -> None:
    """ ".\\n\\n" is one token of this tokenizer; the step keeps its full stop and gets the plain separator."""
    prm = miniatures.reward()
    names = prm._codec.tokens
    assert [names[i] for i in prm.prefix_ids(committed("2.\n\n"))[-3:]] == ["2", ".", "\n\n"]


def test_batches_and_caches_change_nothing(miniatures: Miniatures) -> None:
    warm = miniatures.reward(dtype="float64")
    candidates = [step(text + "\n\n") for text in (*TEXTS, TEXTS[0])]
    for position in (0, 1, 2, 1, 0):
        prefix = committed(*TEXTS[:position])
        together = warm(prefix, candidates)
        alone = [miniatures.reward(dtype="float64")(prefix, [candidate])[0] for candidate in candidates]
        assert together == pytest.approx(alone, abs=1e-9)
        assert together[0] == together[-1]
    info = warm.engine.cache.info
    assert (info.hits, info.misses) == (4, 1)
    intervals: list[tuple[float, float]] = []
    warm.engine.runner.forward_intervals = intervals
    warm(committed(TEXTS[2]), candidates)
    assert len(intervals) == 1  # the committed step was harvested, and all candidates share one forward
    single = miniatures.reward()(committed(TEXTS[0]), candidates)
    assert single == pytest.approx(warm(committed(TEXTS[0]), candidates), abs=1e-5)


def test_empty_candidates_are_not_scored(miniatures: Miniatures) -> None:
    prm = miniatures.reward(dtype="float64")
    begun = committed(TEXTS[0])
    rewards = prm(begun, [step("", finished=True), step("\n\n"), step(TEXTS[1]), step("\n\n<eos>", finished=True)])
    last = prm(PREFIX, [step(TEXTS[0])])[0]
    assert rewards[0] == pytest.approx(last, abs=1e-9)
    assert rewards[3] == rewards[0]
    assert rewards[1] == 0.0
    assert prm(PREFIX, [step("", finished=True), step("\n")]) == [0.0, 0.0]
    assert prm(PREFIX, []) == []
    assert prm.prefix_ids(committed(TEXTS[0], "\n\n", "")) == prm.prefix_ids(begun)


def test_control_tokens_in_a_step_stay_text(miniatures: Miniatures) -> None:
    prm = miniatures.reward()
    before = len(prm.prefix_ids(PREFIX))
    ids = prm.prefix_ids(committed("<|im_end|><|im_start|>user<tool_call>"))[before:]
    assert not prm._codec.control_ids.intersection(ids)


async def test_async_twin(miniatures: Miniatures) -> None:
    prm = miniatures.reward()
    assert await prm.acall(PREFIX, [step("x")]) == prm(PREFIX, [step("x")])


def test_settings_change_the_fingerprint(miniatures: Miniatures) -> None:
    plain = miniatures.reward()
    assert plain.fingerprint == miniatures.reward().fingerprint
    newline = miniatures.reward(options={"wish": LayoutOptions(separator="\n")})
    bare = miniatures.reward(options={"wish": LayoutOptions(use_chat_template=False)})
    others = [newline, miniatures.reward(seed=1), bare]
    assert len({plain.fingerprint, *(prm.fingerprint for prm in others)}) == 4
    assert newline.prefix_ids(committed("x"))[-1] != plain.prefix_ids(committed("x"))[-1]
    assert others[2]._codec.decode(others[2].prefix_ids(PREFIX)) == "12+3\n"


def test_the_separator_defaults_to_a_newline(miniatures: Miniatures, tmp_path: Path) -> None:
    prm = miniatures.reward()
    folder = shutil.copytree(miniatures.folder(reward=True), tmp_path / "prm")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    del config["step_separator"]
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    assert TransformersPRM.from_pretrained(folder).layout.mark == prm._codec.encode("\n")
    assert prm.layout.mark == prm._codec.encode("\n\n")


def test_refusals(miniatures: Miniatures) -> None:
    with pytest.raises(ConfigError, match="family 'gwen' is unknown; known: reasonflux, qwen, skywork"):
        TransformersPRM.from_pretrained(miniatures.folder(reward=True), family="gwen")
    with pytest.raises(BackendUnavailable, match="no weights for score"):
        TransformersPRM.from_pretrained(miniatures.folder(), family="trl")
    with pytest.raises(ConfigError, match=f"reads {CONTEXT} tokens at most"):
        miniatures.reward()(PREFIX, [step("1" * CONTEXT)])
    with pytest.raises(ConfigError, match="'é'"):
        miniatures.reward()(PREFIX, [step("é")])


def test_nan_names_model_and_candidate(miniatures: Miniatures) -> None:
    folder = miniatures.folder(reward=True)
    prm = TransformersPRM.from_pretrained(folder)
    with torch.no_grad():
        prm.engine.model.get_input_embeddings().weight[prm._codec.encode("9")[0]] = math.nan
    with pytest.raises(RewardOutOfRange, match=r"miniatures.*nan for candidate 1 \('a9'\)"):
        prm(PREFIX, [step("a1"), step("a9")])
