"""What each reward reads of the turns before the problem: the rows of the table in docs/rewards.md."""

from __future__ import annotations

import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda

from gsi_node import callable_reward
from gsi_node.errors import ConfigError
from gsi_node.identity import same_fingerprint
from gsi_node.rewards.judge import JudgeReward
from gsi_node.rewards.prm.families import FAMILIES
from gsi_node.rewards.prm.in_process import TransformersPRM
from gsi_node.rewards.prm.layout import LayoutOptions
from gsi_node.rewards.verifier.reward import VerifierReward
from gsi_node.rewards.wrappers.cached import CachedReward
from gsi_node.rewards.wrappers.ensemble import Ensemble
from gsi_node.rewards.wrappers.noisy import NoisyReward
from gsi_node.specs.load import load_reward
from gsi_node.tables.rewards import TableReward
from gsi_node.types import Prefix, Step, Turn
from tests.rewards.family_models import build_family
from tests.rewards.pooling import MODEL, PoolingServer
from tests.rewards.test_families import PROBLEM, STEPS, SYSTEM, USER, by_hand
from tests.text import templates

TURNS = (Turn("system", "Be brief."), Turn("user", "1+1?"), Turn("assistant", "So\n\n2 <eos>"))
LONE = Prefix(PROBLEM, (Step(STEPS[0], (1,), 0.0, False),))
TALK = Prefix(LONE.problem, LONE.steps, TURNS)
BEFORE = (
    "<|im_start|>user\n¦1+1?¦<|im_end|>\n<|im_start|>assistant\n¦So\n\n2 ¦EOS¦<|im_end|>\n<|im_start|>user\n¦"
    + USER.removeprefix("<|im_start|>user\n").replace("<|im_end|>", "¦<|im_end|>", 1)
)
READ = {
    "reasonflux": "<bos>" + BEFORE + "¦2+2=4.¦<extra_0>",
    "qwen": SYSTEM + BEFORE + "¦2+2=4.¦<extra_0>",
    "trl-chat": "<bos>" + BEFORE + "¦2+2=4.¦\n\n",
    "orm": "<bos>" + BEFORE + "¦2+2=4.\n\n",
}
"""Human and AI turns through the chat template; control tokens in them stay text."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("families")


def written(sequence: str) -> list[int]:
    """By hand; EOS stands for the text "<eos>", character by character."""
    head, tail = sequence.split("¦EOS¦")
    return [*by_hand(head), *(i for c in "<eos>" for i in by_hand(c)), *by_hand(tail)]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_reads_the_conversation_where_its_chat_template_takes_it(root: Path, family: str) -> None:
    prm = TransformersPRM.from_pretrained(build_family(root, family), dtype="float64")
    assert (prm.layout.chat is not None) == (family in READ)
    lone, talk = prm.prefix_ids(LONE), prm.prefix_ids(TALK)
    assert list(talk) == (written(READ[family]) if family in READ else list(lone))
    step = [Step(STEPS[1], (1,), 0.0, False)]
    assert (prm(TALK, step) == prm(LONE, step)) == (family not in READ)
    empty = [Step("", (1,), 0.0, True)]
    assert prm(TALK, empty) == prm(Prefix(PROBLEM, (), TURNS), list(TALK.steps))
    assert "+conversation:" in prm.fingerprint


def test_trl_reads_it_where_it_is_asked_to_use_its_chat_template(root: Path) -> None:
    prm = load_reward(f"prm:{build_family(root, 'trl')}?use_chat_template=true")
    assert isinstance(prm, TransformersPRM)
    assert list(prm.prefix_ids(TALK)) == written("<bos>" + BEFORE + "¦2+2=4.¦\n")
    asked = TransformersPRM.from_pretrained(build_family(root, "trl-chat"), wish=LayoutOptions(use_chat_template=False))
    assert asked.prefix_ids(TALK) == asked.prefix_ids(LONE)


def test_a_template_that_takes_no_turns_leaves_the_problem_alone_and_one_that_refuses_these_says_so(
    root: Path, tmp_path: Path
) -> None:
    pocket = load_reward("pocket")
    assert isinstance(pocket, TransformersPRM)
    assert pocket.prefix_ids(TALK) == pocket.prefix_ids(LONE)
    folder = shutil.copytree(build_family(root, "trl-chat"), tmp_path / "reward")
    plain = load_reward(f"prm:{folder}").fingerprint
    (folder / "chat_template.jinja").write_text(templates.ALTERNATING, "utf-8")
    strict = load_reward(f"prm:{folder}")
    assert isinstance(strict, TransformersPRM)
    assert strict.prefix_ids(TALK) != strict.prefix_ids(LONE)
    with pytest.raises(ConfigError, match=r"the chat template of .*reward .*roles must alternate"):
        strict(Prefix("p", (), TURNS[:2]), [Step("x", (1,), 0.0, False)])
    assert not same_fingerprint(plain, strict.fingerprint)


def test_another_template_of_conversations_is_another_reward_and_an_earlier_fingerprint_told_none(
    root: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(build_family(root, "trl-chat"), tmp_path / "reward")
    file = folder / "chat_template.jinja"
    one = load_reward(f"prm:{folder}").fingerprint
    file.write_text(
        file.read_text("utf-8").replace("['role'] }}", "['role'].replace('assistant', 'model') }}"), "utf-8"
    )
    other = load_reward(f"prm:{folder}").fingerprint
    earlier = one.partition("+conversation:")[0]
    assert not same_fingerprint(one, other)
    assert earlier == other.partition("+conversation:")[0]
    assert same_fingerprint(earlier, one) and same_fingerprint(earlier.partition("+")[0], one)


def test_a_served_family_sends_what_it_reads_in_process(root: Path) -> None:
    local = TransformersPRM.from_pretrained(build_family(root, "qwen"))
    step = Step(STEPS[1], (1,), 0.0, False)
    with PoolingServer() as server:
        reward: Any = load_reward(f"server:{server.url}#{MODEL}@qwen?tokenizer={build_family(root, 'qwen')}")
        reward(TALK, [step])
        reward.close()
    sent = server.requests[-1][1]["input"]
    assert sent == [[*written(READ["qwen"]), *local.layout.candidate(step.text, False)]]
    assert local.fingerprint.partition("+")[2] == reward.fingerprint.partition("+")[2]


# --- judges ---------------------------------------------------------------------------------------------------------

PROMPT = "P $problem S $steps Y $step"
TOLD = f"P {PROBLEM} S {STEPS[0]} Y x"
AS_TEXT = f"P system: Be brief.\n\nuser: 1+1?\n\nassistant: So\n\n2 <eos>\n\nuser: {PROBLEM} S {STEPS[0]} Y x"
AS_MESSAGES = [("system", "Be brief."), ("human", "1+1?"), ("ai", "So\n\n2 <eos>"), ("human", TOLD)]
X = [Step("x", (1,), 0.0, False)]


class Heard(GenericFakeChatModel):
    """A chat model that keeps what it was asked."""

    def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        HEARD.append([(message.type, message.content) for message in messages])
        return super()._generate(messages, *args, **kwargs)


HEARD: list[Any] = []


@pytest.mark.parametrize("bound", [False, True])
async def test_a_chat_model_judges_after_the_conversations_messages(bound: bool) -> None:
    HEARD.clear()
    chat: Any = Heard(messages=iter([AIMessage("9")] * 3))
    judge = JudgeReward(chat.bind(stop=["x"]) | RunnableLambda(lambda said: said) if bound else chat, prompt=PROMPT)
    assert judge(TALK, X) == await judge.acall(TALK, X) == judge(LONE, X) == [1.0]
    assert HEARD == [AS_MESSAGES, AS_MESSAGES, [("human", TOLD)]]


async def test_a_function_and_a_chain_that_begins_with_none_judge_a_text() -> None:
    seen: list[Any] = []

    def grade(prompt: str) -> str:
        seen.append(prompt)
        return "9"

    for judge in (JudgeReward(grade, prompt=PROMPT), JudgeReward(RunnableLambda(grade), prompt=PROMPT)):
        assert judge(TALK, X) == await judge.acall(TALK, X) == judge(LONE, X) == [1.0]
    assert seen == [AS_TEXT, AS_TEXT, TOLD] * 2
    HEARD.clear()
    chain: Any = ChatPromptTemplate.from_template("{x}!") | Heard(messages=iter([AIMessage("9")]))
    assert JudgeReward(chain, prompt=PROMPT)(TALK, X) == [1.0]
    assert HEARD == [[("human", AS_TEXT + "!")]]


def test_a_served_judge_is_sent_the_conversations_messages() -> None:
    asked: list[Any] = []

    class Chat(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"])
            data = json.dumps({"choices": [{"message": {"content": "9"}}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:
            """Silence."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Chat)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    judge: Any = load_reward(f"judge:http://127.0.0.1:{server.server_address[1]}/v1#m?attempts=1")
    assert judge(TALK, X) == judge(LONE, X) == [1.0]
    judge.close()
    server.shutdown()
    server.server_close()
    thread.join()
    assert [(turn["role"], turn["content"]) for turn in asked[0][:-1]] == list(TURNS)
    assert asked[0][-1:] == asked[1] and PROBLEM in asked[1][0]["content"]


# --- functions, rules and what is made of others --------------------------------------------------------------------


def test_a_function_is_given_the_problem_and_the_verifier_reads_the_step_alone() -> None:
    seen: list[Any] = []

    def reward(problem: str, steps: list[str]) -> float:
        seen.append((problem, steps))
        return 0.5

    own = callable_reward(reward)
    assert own(TALK, X) == own(LONE, X) == [0.5]
    assert seen == [(PROBLEM, [STEPS[0], "x"])] * 2
    wrong = [Step("1+1=3", (1,), 0.0, False)]
    assert VerifierReward()(TALK, wrong) == VerifierReward()(LONE, wrong) == [0.0]


def test_what_is_made_of_others_leaves_each_its_own_and_keeps_conversations_apart() -> None:
    turns = TableReward(lambda prefix, step: len(prefix.earlier) / 10, name="turns")
    assert Ensemble([turns, VerifierReward(prior=0.1)])(TALK, X) == [pytest.approx(0.2)]
    cached = CachedReward(turns)
    assert [cached(prefix, X) for prefix in (LONE, TALK, LONE, TALK)] == [[0.0], [0.3], [0.0], [0.3]]
    assert (cached.hits, cached.misses) == (2, 2)
    noisy = NoisyReward(TableReward(lambda prefix, step: 0.5, name="half"), share=0.5)
    assert noisy(LONE, X) == noisy(LONE, X) != noisy(TALK, X) == noisy(TALK, X)
