"""Verifiers that write: what they are asked, which law their chains have, where their verdicts are read."""

from __future__ import annotations

from collections import Counter
from math import sqrt
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from gsi_node.rewards.generative.formats import FORMATS
from gsi_node.rewards.generative.reward import GenerativeReward
from gsi_node.testing import check_reward
from gsi_node.types import Prefix, Step
from tests.rewards.verifier_models import (
    ASKED,
    ONE,
    PROBLEM,
    QUESTION,
    SLOT,
    TWO,
    Listening,
    enumerated,
    folder_of,
    listening,
    verifier,
    verifier_tokenizer,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("verifiers")


ALL = pytest.mark.parametrize("name", FORMATS)


@ALL
def test_what_is_asked_is_what_stands_in_the_format(root: Path, name: str) -> None:
    reward = verifier(root, name, chains=8)
    reward(ONE, TWO[:1])
    asked = cast(Listening, reward._model)
    assert asked.asked == [ASKED[name]]
    words = {"thinkprm": "correct|incorrect", "genprm": "Yes|N", "yesno": " Yes| No"}[name]
    slot = {"thinkprm": SLOT, "genprm": "<output>\n**Judgement**: $\\boxed{", "yesno": QUESTION}[name]
    assert asked.read
    for read, two in asked.read:
        assert read.endswith(slot) and two == words
        assert "<eos>" not in read


@ALL
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_chains_and_verdicts_have_the_law_that_is_enumerated(root: Path, name: str, temperature: float) -> None:
    """Every chain's P(+) is one of the enumerated ones, at temperature 1 whatever the chains', as often as they are."""
    chains, k = 400, 2
    law = enumerated(name, k, temperature)
    assert len(law) == (3 if name == "thinkprm" else 2) and sum(law.values()) == pytest.approx(1.0)
    reward = verifier(root, name, chains=chains, temperature=temperature)
    value = reward(ONE, TWO[:1])[0]
    found = Counter(
        min(law, key=lambda p: abs((p or 9.0) - (one["good"] or 9.0))) for one in reward.written(ONE, TWO[0])
    )
    for one in reward.written(ONE, TWO[0]):
        assert one["good"] is None or any(p is not None and abs(p - one["good"]) < 1e-6 for p in law)
    for p, chance in law.items():
        assert abs(found[p] / chains - chance) < 4.5 * sqrt(chance * (1 - chance) / chains)
    assert reward.without_verdict == found[None] and reward.chains == chains
    told = {p: count for p, count in found.items() if p is not None}
    assert value == pytest.approx(sum(p * count for p, count in told.items()) / sum(told.values()), abs=1e-6)


def test_a_chain_that_ends_at_an_earlier_wrong_step_is_read_there() -> None:
    """As ThinkPRM's training chains do: to leave it out would count the chains that found nothing wrong alone."""
    thinkprm = FORMATS["thinkprm"]

    def end(said: str, *, finished: bool = True) -> str | None:
        found = thinkprm.slot_end(said, 2, finished)
        return None if found is None else said[:found]

    first, second = f"1: {SLOT}correct}}", f"\n2: {SLOT}"
    assert end(f"{first}{second}incorrect}}") == end(f"{first}{second}incorrect}}", finished=False) == first + second
    wrong = f"1: {SLOT}"
    assert end(f"{wrong}incorrect}}, so it is over.") == wrong
    assert end(f"{wrong}incorrect}}, so", finished=False) is None  # it was cut, and might have gone on
    assert end(first) is None  # it says nothing of the second
    assert end("1: it is incorrect") is None


def test_a_step_that_numbers_itself_is_numbered_anew() -> None:
    (turn,) = FORMATS["thinkprm"].turns("p", ["Step 1: 2+2=4.", "## Step 9: So\n\nStep 3: 4.", "As in Step 1: 4."])
    assert "\nStep 1: 2+2=4.\nStep 2: So\nStep 3: 4.\nStep 3: As in Step 1: 4.\n" in turn.content


def test_the_verdict_is_that_of_plain_transformers(root: Path) -> None:
    """Of a random model: the chain, the place and the softmax over two ids, all by hand."""
    model = listening(folder_of(root, "random"))
    reward = GenerativeReward(model, family="yesno", chains=24, max_tokens=80)
    plain = AutoModelForCausalLM.from_pretrained(folder_of(root, "random"), dtype=torch.float64)
    tokenizer: Any = verifier_tokenizer()

    def ids(text: str) -> list[int]:
        return list(tokenizer.encode(text, add_special_tokens=False))

    prompt, [slot], [yes], [no] = ids(ASKED["yesno"]), ids(QUESTION), ids(" Yes"), ids(" No")
    known = {"found": 0, "behind": 0, "none": 0}
    values = []
    reward(ONE, TWO[:1])
    for chain in reward.written(ONE, TWO[0]):
        written = ids(chain["text"])
        if slot in written:
            how, read = "found", written[: len(written) - written[::-1].index(slot)]
        elif len(written) < 80:
            how, read = "behind", [*written, *ids("\n\n"), slot]
        else:
            how, read = "none", None
        known[how] += 1
        if read is None:
            assert chain["good"] is None
            continue
        with torch.no_grad():
            logits = plain(torch.tensor([[*prompt, *read]])).logits[0, -1]
        values.append(float(torch.softmax(logits[[yes, no]], 0)[0]))
        assert chain["good"] == pytest.approx(values[-1], abs=1e-9)
    assert min(known.values()) > 0  # each way is taken
    assert reward(ONE, TWO[:1])[0] == pytest.approx(float(np.mean(values)), abs=1e-9)


def test_chains_are_keyed_by_seed_prefix_and_text(root: Path) -> None:
    def texts(prefix: Prefix, candidate: Step, **settings: Any) -> list[str]:
        reward = GenerativeReward(model, family="yesno", **{"max_tokens": 12, "chains": 3, **settings})
        return [one["text"] for one in reward.written(prefix, candidate)]

    model = listening(folder_of(root, "random"))
    usual = texts(ONE, TWO[0])
    assert usual == texts(ONE, TWO[0]) == texts(ONE, TWO[0], chains=5)[:3]
    assert usual == texts(ONE, Step("So it is\n\n4.", (7, 8), -3.0, True))  # the text alone counts
    assert len(set(usual)) == 3
    others = [
        texts(ONE, TWO[0], seed=1),
        texts(ONE, TWO[1]),
        texts(Prefix(PROBLEM), TWO[0]),
        texts(Prefix("What is 3+3?", ONE.steps), TWO[0]),
    ]
    assert not any(set(usual) & set(other) for other in others)
    assert len(set(model.keys[:4])) == 1 and len(set(model.keys[3:])) == 5  # whatever the questions do to the draws


@ALL
def test_the_contract_of_rewards(root: Path, name: str) -> None:
    check_reward(verifier(root, name, chains=12), tolerance=1e-6)
