"""Verifiers that write, as they are used: in company, from specs, in records, served; and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from gsi_node import StepModelBase, compile_gsi, load_model, load_reward
from gsi_node.errors import ConfigError, LawMismatch, NoVerdict, SpecError
from gsi_node.models.transformers import TransformersModel
from gsi_node.protocols import Reward
from gsi_node.rewards.generative.formats import FORMATS
from gsi_node.rewards.generative.reward import GenerativeReward
from gsi_node.rewards.wrappers.cached import CachedReward
from gsi_node.specs.kinds import MODELS, REWARDS
from gsi_node.step.config import GSIConfig
from gsi_node.tables.models import TableModel
from gsi_node.text.tokens import Tokens
from gsi_node.types import Key, Prefix, SamplingLaw, Score, Step, Turn
from tests.models.serving import MODEL, Bigram, Server
from tests.rewards.verifier_models import (
    ASKED,
    MOST,
    ONE,
    PROBLEM,
    QUESTION,
    TWO,
    Listening,
    folder_of,
    listening,
    step,
    tabled,
    verifier,
    verifier_tokenizer,
)
from tests.service.running import running
from tests.thinker import Laws


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("verifiers")


def test_company_changes_no_reward_and_no_question_is_computed_twice(root: Path) -> None:
    """Candidates of one prefix share its keys and values; chains of one candidate the whole question."""
    model = listening(folder_of(root, "random"))
    reward = GenerativeReward(model, family="yesno", chains=6, max_tokens=40)
    steps = [step(text) for text in ("2+2=5.", "4", "So 4.", "4", "It is 4.")]
    together = reward(ONE, steps)
    assert len(model.asked) == 4  # equal texts are one
    alone = [GenerativeReward(model, family="yesno", chains=6, max_tokens=40)(ONE, [one])[0] for one in steps]
    assert together == pytest.approx(alone, abs=1e-9)
    assert reward(ONE, steps) == together and len(model.asked) == 9  # asked again, it is remembered


def test_candidates_are_written_in_company_behind_what_is_cached(root: Path) -> None:
    model = listening(folder_of(root, "random"))
    steps = [step(text) for text in ("2+2=5.", "4", "So 4.", "It is 4.")]
    fed: list[tuple[int, ...]] = []
    feed = model.engine.runner.feed

    def counted(batch: Any, ids: torch.Tensor, *, last: bool) -> torch.Tensor:
        fed.append(tuple(ids.shape))
        return cast(torch.Tensor, feed(batch, ids, last=last))

    model.engine.runner.feed = counted

    def work(asked: list[Step], **settings: Any) -> list[tuple[int, ...]]:
        fed.clear()
        reward = GenerativeReward(model, family="yesno", **{"chains": 6, "max_tokens": 40, **settings})
        reward(ONE, asked)
        return list(fed)

    def computed(one: Step) -> int:
        """Tokens that went through the model for six chains of one token."""
        fed.clear()
        GenerativeReward(model, family="yesno", chains=6, max_tokens=1).written(ONE, one)
        return sum(rows * tokens for rows, tokens in fed)

    first, second = computed(steps[0]), computed(steps[3])
    asked = [model.tokens.codec.encode_marked(text) for text in model.asked]
    shared = next(i for i, (a, b) in enumerate(zip(*asked, strict=False)) if a != b)
    assert first == len(asked[0])  # whose last token is one position for all six
    assert second == len(asked[1]) - shared  # what stands before the candidate is cached
    assert computed(steps[0]) == 1  # nothing but that position
    assert len(work(steps)) < 0.7 * sum(len(work([one], seed=1)) for one in steps)  # rows of several in one forward


def test_the_seed_and_all_that_determines_rewards_is_in_the_fingerprint(root: Path) -> None:
    usual = verifier(root, "yesno").fingerprint
    assert usual == verifier(root, "yesno").fingerprint
    changed = [
        verifier(root, "yesno", **change)
        for change in ({"seed": 1}, {"chains": 2}, {"max_tokens": 5}, {"temperature": 1.0})
    ]
    changed.append(GenerativeReward(listening(folder_of(root, "yesno")), family="genprm", max_tokens=MOST))
    changed.append(GenerativeReward(listening(folder_of(root, "random")), family="yesno", max_tokens=MOST))
    assert len({usual, *(one.fingerprint for one in changed)}) == 1 + len(changed)
    assert isinstance(changed[0], Reward)


def test_empty_steps_are_not_asked_about(root: Path) -> None:
    reward = verifier(root, "thinkprm", chains=12)
    empty = [step("\n\n"), step("", finished=True)]
    assert reward(Prefix(PROBLEM), empty) == [0.0, 0.0]
    assert not hasattr(reward._model, "asked")
    last = reward(Prefix(PROBLEM), [ONE.steps[0]])[0]
    assert reward(ONE, empty) == [0.0, last]
    assert len(cast(Listening, reward._model).asked) == 1
    assert reward.written(ONE, empty[0]) == []


def test_no_verdict_at_all_is_an_error_that_says_what_to_do(root: Path) -> None:
    with pytest.raises(NoVerdict, match=r"@genprm came to no verdict .* about 'So it is.* in 3 chains.*max_tokens"):
        GenerativeReward(listening(folder_of(root, "random")), family="genprm", chains=3, max_tokens=2)(ONE, TWO)


class Mute(StepModelBase):
    """All that GSI needs of a model, and no more."""

    vocabulary = "v"

    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        raise NotImplementedError

    def score(self, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]:
        raise NotImplementedError


def test_refusals(root: Path, tmp_path: Path) -> None:
    folder = folder_of(root, "yesno")
    for spec, told in {
        f"generative:hf:{folder}@yesno?chains=0": "chains='0' should be at least 1",
        f"generative:hf:{folder}@yesno?max_tokens=0": "max_tokens='0' should be at least 1",
        f"generative:hf:{folder}": "want a model's spec and behind it @ and one of thinkprm, genprm, yesno",
        f"generative:hf:{folder}?dtype=float64@yesno": "then all options, the model's among them",
        f"generative:hf:{folder}?dtype=float64@yesno?chains=2": "then all options, the model's among them",
        f"generative:hf:{folder}@maybe": "family 'maybe' is unknown; known: thinkprm, genprm, yesno",
        "generative:verifier@yesno": "kind 'verifier' is unknown; known: pocket",
        f"generative:hf:{folder}@yesno?dtyp=float64": "option 'dtyp' is unknown; .* is dtype meant",
    }.items():
        with pytest.raises(SpecError, match=told):
            load_reward(spec)
    model = load_model(f"hf:{folder}")
    with pytest.raises(SpecError, match="chains=0"):
        GenerativeReward(cast(Any, model), family="yesno", chains=0)
    with pytest.raises(SpecError, match="format 'maybe' is unknown"):
        GenerativeReward(cast(Any, model), family="maybe")
    with pytest.raises(LawMismatch, match="temperature is 0"):
        GenerativeReward(cast(Any, model), family="yesno", temperature=0.0)
    with pytest.raises(ConfigError, match="Mute lacks step_of"):
        GenerativeReward(cast(Any, Mute()), family="yesno")
    with pytest.raises(LawMismatch, match="which no number of tokens ends"):
        GenerativeReward(TableModel({"a\n\n": 1.0}), family="yesno")
    with pytest.raises(ConfigError, match="begins  Yes and  No with one token"):
        load_reward("generative:pocket:base@yesno")


def test_a_spec_nests_the_model_and_its_options(root: Path) -> None:
    """What stands behind the format: the verifier's own options, and the model's; no name is both's."""
    folder = folder_of(root, "yesno")
    reward = load_reward(
        f"generative:hf:{folder}@yesno?chains=2&dtype=float64&max_tokens={MOST}&system_prompt=Be strict.&seed=7"
    )
    assert isinstance(reward, GenerativeReward) and isinstance(reward._model, TransformersModel)
    assert str(reward._model.engine.model.dtype) == "torch.float64"
    assert reward._settings == (2, MOST, 7, 0.7)
    assert "Be strict." in reward._model.tokens.codec.decode(reward._model.prefix_ids(Prefix("1")))
    own = REWARDS["generative"].options
    assert not any(set(own) & set(kind.options) for kind in MODELS.values())
    home = folder.rename(folder.parent / "a@home")
    try:
        assert isinstance(load_reward(f"generative:hf:{home}@yesno"), GenerativeReward)
        within = load_reward(f"cached:generative:hf:{home}@yesno?entries=3&chains=5&dtype=float64")
    finally:
        home.rename(folder)
    assert isinstance(within, CachedReward) and within._entries == 3
    (inner,) = within.members
    assert isinstance(inner, GenerativeReward) and inner._settings[0] == 5


def test_the_chains_stand_in_the_records_of_candidates(root: Path) -> None:
    draft = TableModel({"a\n\n": 0.5, "\\boxed{1}": 0.5})
    reward = verifier(root, "yesno", chains=3)
    for used in (reward, CachedReward(reward)):
        config = GSIConfig(method="sbon-draft", n=4, record="candidates")
        gsi = compile_gsi(draft=draft, base=draft, reward=used, config=config)
        done = gsi.invoke({"problem": PROBLEM})
        prefix, billed = Prefix(PROBLEM), dict[object, int]()
        for record in done["steps"]:
            for one in record["candidates"]:
                assert one["written"] == reward.written(prefix, step(one["text"]))
                good = [chain["good"] for chain in one["written"] if chain["good"] is not None]
                assert len(one["written"]) == 3 and one["reward"] == pytest.approx(float(np.mean(good)))
                billed.update({(prefix.steps, one["text"]): sum(chain["tokens"] for chain in one["written"])})
            prefix = prefix.extended(step(record["text"]))
        assert done["usage"]["reward"]["generated_tokens"] == sum(billed.values()) > 0
    plain = compile_gsi(draft=draft, base=draft, reward=reward, config=GSIConfig(method="sbon-draft", n=4))
    assert all("candidates" not in record for record in plain.invoke({"problem": PROBLEM})["steps"])


def test_it_reads_answers_and_conversations(root: Path) -> None:
    reward = verifier(root, "yesno")
    thinking = Prefix(
        PROBLEM,
        (step("<think>\nIs it 5?\n</think>\n\n2+2=4.\n\n", thought=27),),
        (Turn("system", "Be brief."), Turn("user", "1+1?"), Turn("assistant", "2")),
    )
    reward(thinking, TWO[:1])
    (asked,) = cast(Listening, reward._model).asked
    told = "user: 1+1?\n\nassistant: 2\n\nuser: What is 2+2?"
    assert asked == ASKED["yesno"].replace("Problem:\nWhat is 2+2?", f"Problem:\n{told}")


def test_a_verifier_that_thinks_is_read_behind_its_thinking(tmp_path: Path) -> None:
    laws: Laws = {
        "\n": {"<think>": 1.0},
        "<think>": {QUESTION: 1.0},
        QUESTION: {" No": 0.6, " Yes": 0.4},
        " No": {"</think>": 1.0},
        " Yes": {"z": 1.0},
        "</think>": {"(": 1.0},
        "(": {"<eos>": 1.0},
    }
    reward = GenerativeReward(listening(tabled(tmp_path, laws, thinks=True)), family="yesno", chains=40, max_tokens=9)
    reward(ONE, TWO[:1])
    for chain in reward.written(ONE, TWO[0]):  # a question asked within is no verdict
        assert (chain["good"] is None) == ("</think>" not in chain["text"])
    read = {text for text, _ in cast(Listening, reward._model).read}
    assert read == {f"<think>{QUESTION} No</think>(\n\n{QUESTION}"}


def test_a_served_verifier(tmp_path: Path) -> None:
    verifier_tokenizer().save_pretrained(tmp_path)
    tokens = Tokens.of_folder(str(tmp_path), "test")
    bigram = Bigram(tokens.size, [tokens.codec.encode(QUESTION)[0]])
    spec = f"generative:server:{{}}/v1#{MODEL}@yesno?chains=4&max_tokens=40&tokenizer={tmp_path}"
    with Server(bigram, folder=str(tmp_path)) as server, Server(bigram, folder=str(tmp_path)) as twin:
        reward = load_reward(spec.format(server.url))
        assert isinstance(reward, GenerativeReward)
        slot, yes, no = (tokens.codec.encode(text)[0] for text in (QUESTION, " Yes", " No"))
        good, bad = bigram.log_p[slot, [yes, no]]
        assert reward(ONE, TWO) == pytest.approx([1 / (1 + np.exp(bad - good))] * 2, abs=1e-6)
        assert reward.chains == 8 and reward.without_verdict < 8
        server.faults.plan = ["500", "reset", "429"]
        again = load_reward(spec.format(server.url).replace("chains=4", "chains=4&attempts=4"))
        assert isinstance(again, GenerativeReward)
        assert again.written(ONE, TWO[0]) == reward.written(ONE, TWO[0])
        both = load_reward(spec.format(f"{server.url}/v1#{MODEL}|server:{twin.url}").replace("/v1/v1", "/v1"))
        assert isinstance(both, GenerativeReward)
        assert both.written(ONE, TWO[0]) == reward.written(ONE, TWO[0])
        for one in (reward, again, both):
            one.close()
    with Server(bigram, folder=str(tmp_path), llama=True) as server, pytest.raises(LawMismatch, match="cannot score"):
        load_reward(spec.format(server.url))


def test_a_remote_verifier_says_what_it_says_in_process(root: Path) -> None:
    folder = folder_of(root, "thinkprm")
    with running(model=load_model(f"hf:{folder}")) as url:
        far = load_reward(f"generative:remote:{url}@thinkprm?chains=12&max_tokens={MOST}")
        here = load_reward(f"generative:hf:{folder}@thinkprm?chains=12&max_tokens={MOST}")
        assert isinstance(far, GenerativeReward) and isinstance(here, GenerativeReward)
        assert far(ONE, TWO) == pytest.approx(here(ONE, TWO), abs=1e-6)
        far.close()


def test_the_pages_name_every_format_and_say_what_was_confirmed() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "rewards.md").read_text("utf-8")
    sources = {"thinkprm": "github.com/mukhal/ThinkPRM", "genprm": "github.com/RyanLiu112/GenPRM", "yesno": "ours"}
    for name, form in FORMATS.items():
        row, held = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
        assert all(word in row for word in form.words) and form.slot.replace("\n", "\\n") in row
        assert sources[name] in held
