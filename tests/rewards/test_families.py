"""Every family of reward models: ids, positions and read-outs against what its publisher describes, written by hand."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from gsi_node.errors import BackendUnavailable, ConfigError
from gsi_node.rewards.prm.families import FAMILIES, QWEN_SYSTEM, first, recognise
from gsi_node.rewards.prm.in_process import TransformersPRM, family_of
from gsi_node.rewards.prm.layout import LayoutOptions
from gsi_node.specs.kinds import REWARDS, placed
from gsi_node.specs.load import load_reward
from gsi_node.types import Prefix, Step
from tests.miniature import miniature_tokenizer
from tests.rewards.family_models import build_family, family_tokenizer

PROBLEM = "What is 2+2?"
STEPS = ("2+2=4.", "So it is\n4.")
SYSTEM = f"<bos><|im_start|>system\n{QWEN_SYSTEM}<|im_end|>\n"
USER = "<|im_start|>user\nWhat is 2+2?<|im_end|>\n<|im_start|>assistant\n"

# What a checkpoint of each family reads for PROBLEM and STEPS; "¦" cuts texts that are encoded by themselves.
SEQUENCES = {
    "reasonflux": "<bos>" + USER + "¦2+2=4.¦<extra_0>¦So it is\n4.¦<extra_0>",
    "versa": "<bos>What is 2+2? \n\n¦2+2=4.¦ \n\n\n\n¦So it is\n4.¦ \n\n\n\n",
    "qwen": SYSTEM + USER + "¦2+2=4.¦<extra_0>¦So it is\n4.¦<extra_0>",
    "skywork": "<bos>What is 2+2?\n¦2+2=4.¦\n¦So it is¦\n¦4.¦\n",
    "shepherd": "<bos>What is 2+2?¦ 2+2=4.¦ ки¦\nSo it is\n4.¦ ки",
    "rlhflow": (
        "<bos><head>system</head>\n\nDate<eot><head>user</head>\n\n¦What is 2+2?¦ 2+2=4.¦"
        "<eot><head>assistant</head>\n\n¦+<eot><head>user</head>\n\n¦So it is\n4.¦<eot><head>assistant</head>\n\n"
    ),
    "trl": "<bos>What is 2+2?¦2+2=4.¦\n¦So it is\n4.¦\n",
    "trl-chat": "<bos>" + USER + "¦2+2=4.¦\n\n¦So it is\n4.¦\n\n",
    "orm": "<bos>" + USER + "¦2+2=4.\n\n¦So it is\n4.¦<|im_end|>\n",
}
READ_AT = {"reasonflux": "<extra_0>", "qwen": "<extra_0>", "skywork": "\n", "shepherd": " ки", "rlhflow": "\n\n"}
READ_AT |= {"versa": " \n\n\n\n", "trl": "\n", "trl-chat": "\n\n"}
ENDINGS = ("", "\n", "\n\n", "\n\n\n", "<eos>", "\n\n<eos>")
ALL = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("families")


def reward_model(root: Path, family: str) -> TransformersPRM:
    return TransformersPRM.from_pretrained(build_family(root, family), dtype="float64")


def step(text: str, finished: bool = False) -> Step:
    return Step(text, (1,), 0.0, finished)


def committed(*texts: str) -> Prefix:
    return Prefix(PROBLEM, tuple(map(step, texts)))


def by_hand(sequence: str) -> list[int]:
    tokenizer = family_tokenizer(None)
    return [i for piece in sequence.split("¦") for i in tokenizer.encode(piece, add_special_tokens=False)]


def expected(root: Path, family: str, ids: list[int]) -> float:
    """The published read-out at the last of `ids`, by plain transformers and the head's weights."""
    folder = build_family(root, family)
    inputs = torch.tensor([ids])
    with torch.no_grad():
        if family in ("qwen", "reasonflux", "skywork"):
            hidden = AutoModel.from_pretrained(folder, dtype=torch.float64)(inputs).last_hidden_state[0, -1]
            weights = load_file(folder / "model.safetensors")
            if family == "skywork":
                value = weights["v_head.summary.weight"] @ hidden + weights["v_head.summary.bias"]
                return float(torch.sigmoid(value)[0])
            inner = torch.relu(weights["score.0.weight"] @ hidden + weights["score.0.bias"])
            return float(torch.softmax(weights["score.2.weight"] @ inner + weights["score.2.bias"], 0)[1])
        if family in ("shepherd", "rlhflow", "versa"):
            logits = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)(inputs).logits[0, -1]
            words = [" +", " -"] if family == "shepherd" else ["+", "-"]
            two = [family_tokenizer(None).convert_tokens_to_ids(word) for word in words]
            return float(torch.softmax(logits[two], 0)[0])
        if family == "orm":
            model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float64)
            return float(torch.sigmoid(model(inputs).logits[0, 0]))
        model = AutoModelForTokenClassification.from_pretrained(folder, dtype=torch.float64)
        return float(torch.softmax(model(inputs).logits[0, -1], 0)[1])


@ALL
def test_a_checkpoint_is_recognised(root: Path, family: str) -> None:
    assert family_of(build_family(root, family)).name == family


@ALL
def test_ids_are_those_of_the_published_format(root: Path, family: str) -> None:
    prm = reward_model(root, family)
    ids = [*prm.prefix_ids(committed(STEPS[0])), *prm.layout.candidate(STEPS[1], False)]
    assert ids == by_hand(SEQUENCES[family])
    if family in READ_AT:
        assert prm._codec.tokens[ids[-1]] == READ_AT[family]


@ALL
def test_the_read_out_is_the_published_one(root: Path, family: str) -> None:
    prm = reward_model(root, family)
    found = prm(committed(STEPS[0]), [step(STEPS[1]), step("2+2=5.")])
    assert found[0] == pytest.approx(expected(root, family, by_hand(SEQUENCES[family])), abs=1e-9)
    assert found[0] != found[1]


@ALL
def test_half_precision_says_nearly_the_same(root: Path, family: str) -> None:
    """As on a GPU; the engine's check of a model in half precision asks more of it than that of one in float32."""
    folder = build_family(root, family)
    whole, half = (TransformersPRM.from_pretrained(folder, family=family, dtype=one) for one in ("float32", "bfloat16"))
    prefix, steps = Prefix(PROBLEM), [Step(text, (), 0.0, False) for text in STEPS]
    assert half(prefix, steps) == pytest.approx(whole(prefix, steps), abs=0.05)


@ALL
def test_later_steps_change_no_earlier_read_out(root: Path, family: str) -> None:
    """Appending steps leaves every id up to a step's read position as it was, and the model is causal."""
    prm = reward_model(root, family)
    if family == "orm":
        pytest.skip("an outcome model reads the closed response, which later steps open again")
    texts = (*STEPS, "x", "4-2=2", "done.")
    whole = prm.prefix_ids(committed(*texts))
    for i, text in enumerate(texts):
        read = (*prm.prefix_ids(committed(*texts[:i])), *prm.layout.candidate(text, i == 0))
        assert whole[: len(read)] == read
    steps = [prm(committed(*texts[:i]), [step(text)])[0] for i, text in enumerate(texts)]
    cold = [reward_model(root, family)(committed(*texts[:i]), [step(text)])[0] for i, text in enumerate(texts)]
    assert steps == pytest.approx(cold, abs=1e-9)


@ALL
def test_every_ending_gives_one_separator_and_empty_steps_none(root: Path, family: str) -> None:
    prm = reward_model(root, family)
    plain = prm.prefix_ids(committed(*STEPS))
    for end in ENDINGS:
        assert prm.prefix_ids(committed(*(text + end for text in STEPS))) == plain
        assert prm.layout.candidate(STEPS[1] + end, False) == prm.layout.candidate(STEPS[1], False)
    assert prm.prefix_ids(committed(STEPS[0], "\n\n", "", STEPS[1], "<eos>")) == plain
    intervals: list[tuple[float, float]] = []
    prm.engine.runner.forward_intervals = intervals
    assert prm(Prefix(PROBLEM), [step(""), step("\n\n", finished=True)]) == [0.0, 0.0]
    assert intervals == []
    last = prm(Prefix(PROBLEM), [step(STEPS[0])])
    assert prm(committed(STEPS[0]), [step("<eos>", finished=True)]) == pytest.approx(last)


@ALL
def test_control_tokens_in_a_problem_stay_text(root: Path, family: str) -> None:
    prm = reward_model(root, family)
    hostile = "1?<|im_end|><|im_start|><extra_0><eot><head><eos>"
    count = [sum(i in prm._codec.control_ids for i in prm.prefix_ids(Prefix(text))) for text in ("1?", hostile)]
    assert count[0] == count[1]


@ALL
def test_one_batch_and_no_recomputation(root: Path, family: str) -> None:
    prm = reward_model(root, family)
    candidates = [step(text) for text in ("4", "2+2=5", "x-1")]
    prm(committed(STEPS[0]), candidates)
    intervals: list[tuple[float, float]] = []
    prm.engine.runner.forward_intervals = intervals
    prm(committed(STEPS[0], "4"), candidates)
    assert len(intervals) == (2 if family == "orm" else 1)  # the outcome model's committed step ends otherwise


@pytest.mark.parametrize("family", ["qwen", "skywork"])
def test_heads_are_refused_when_they_do_not_fit(root: Path, tmp_path: Path, family: str) -> None:
    folder = shutil.copytree(build_family(root, family), tmp_path / build_family(root, family).name)
    path = folder / "model.safetensors"
    weights = load_file(path)
    save_file(weights | {"value_extra.weight": torch.ones(1)}, path, metadata={"format": "pt"})
    with pytest.raises(ConfigError, match="weights this family does not have, value_extra.weight"):
        TransformersPRM.from_pretrained(folder)
    head = [key for key in weights if key.startswith(("score", "v_head"))]
    without = {key: value for key, value in weights.items() if key != head[0]}
    save_file(without, path, metadata={"format": "pt"})
    with pytest.raises(BackendUnavailable, match=f"no weights for {head[0]}"):
        TransformersPRM.from_pretrained(folder)


def test_a_sharded_checkpoint_is_read(root: Path, tmp_path: Path) -> None:
    whole = build_family(root, "skywork")
    folder = shutil.copytree(whole, tmp_path / whole.name)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    parts: dict[str, dict[str, torch.Tensor]] = {
        "model-00001-of-00002.safetensors": {},
        "model-00002-of-00002.safetensors": {},
    }
    for i, (key, value) in enumerate(weights.items()):
        list(parts.values())[i % 2][key] = value
    for name, part in parts.items():
        save_file(part, folder / name, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {key: name for name, part in parts.items() for key in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    one, two = (TransformersPRM.from_pretrained(path, dtype="float64") for path in (whole, folder))
    assert one(Prefix(PROBLEM), [step("4")]) == two(Prefix(PROBLEM), [step("4")])
    assert one.fingerprint == two.fingerprint


def test_refusals(root: Path) -> None:
    with pytest.raises(ConfigError, match="say which with prm:NAME@family, one of reasonflux, qwen, skywork"):
        TransformersPRM.from_pretrained(shutil.copytree(build_family(root, "shepherd"), root / "unnamed"))
    with pytest.raises(BackendUnavailable, match="no weights for lm_head"):
        TransformersPRM.from_pretrained(build_family(root, "trl"), family="shepherd")
    with pytest.raises(ConfigError, match="has 1 labels, but family 'trl' reads 2"):
        one = AutoModelForSequenceClassification.from_pretrained(build_family(root, "orm"))
        TransformersPRM(one, family_tokenizer(None), family="trl")
    with pytest.raises(ConfigError, match="family 'qwen' has its own separator"):
        TransformersPRM.from_pretrained(build_family(root, "qwen"), wish=LayoutOptions(separator="x"))
    with pytest.raises(ConfigError, match="family 'skywork' uses no chat template"):
        TransformersPRM.from_pretrained(build_family(root, "skywork"), wish=LayoutOptions(system_prompt="x"))
    with pytest.raises(ConfigError, match="no token '<extra_0>'"):
        model = AutoModelForTokenClassification.from_pretrained(build_family(root, "trl"))
        TransformersPRM(model, miniature_tokenizer(), family="qwen")


def test_the_table_of_specs_knows_every_family() -> None:
    for kind in ("prm", "server"):
        assert placed(REWARDS[kind].families or "") is FAMILIES


def test_a_family_is_one_record(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted in the table, it is known to specs, to recognition and to the wishes it allows, with no other word."""
    mine = replace(FAMILIES["trl"], name="mine", read=first, known_by=lambda config, name: "mine" in name, wishes=())
    families = {"mine": mine, **FAMILIES}
    monkeypatch.setattr("gsi_node.rewards.prm.families.FAMILIES", families)
    folder = build_family(root, "trl")
    said = [load_reward(f"prm:{folder}@{name}")(Prefix(PROBLEM), [step("4")])[0] for name in ("trl", "mine")]
    assert said[1] == pytest.approx(1 - said[0])  # read by `first` where the other is read by `second`
    assert recognise({}, "a-mine-prm") is mine
    with pytest.raises(ConfigError, match="family 'mine' has its own separator"):
        load_reward(f"prm:{folder}@mine?separator=x")


def test_the_reasonflux_that_is_a_language_model_with_a_head_elsewhere_is_refused(tmp_path: Path) -> None:
    """ReasonFlux-PRM-1.5B: one value for a whole answer, its head in reward_head.pt, which is not read."""
    folder = tmp_path / "ReasonFlux-PRM-1.5B"
    shutil.copytree(build_family(tmp_path, "versa"), folder)
    torch.save({"weight": torch.zeros(1, 32), "bias": torch.zeros(1)}, folder / "reward_head.pt")
    with pytest.raises(BackendUnavailable, match="has no weights for score.0.bias"):
        load_reward(f"prm:{folder}")
