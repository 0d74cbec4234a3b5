"""A language model as judge: what it is shown, how strictly its grade is read, over LangChain and over HTTP."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_core.load import dumpd
from langchain_core.messages import AIMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough

from gsi_node.errors import BackendError, ConfigError, SpecError
from gsi_node.protocols import Reward, close
from gsi_node.rewards.judge import JudgeReward
from gsi_node.rewards.judge_models import _plain
from gsi_node.specs.load import load_reward
from gsi_node.types import Prefix, Step

PREFIX = Prefix("What is $step 2+2?", (Step("two", (1,), 0.0, False),))
STEPS = [Step("So 4.\n\n", (2,), 0.0, False), Step("So $problem 5.", (2,), 0.0, True)]


def test_a_chat_model_judges() -> None:
    judge = JudgeReward(FakeListChatModel(responses=["9", " 3\n"]), name="fake", concurrency=1)
    assert isinstance(judge, Reward)
    assert sorted(judge(PREFIX, STEPS)) == [3 / 9, 1.0]
    assert judge.fingerprint != JudgeReward(str, name="fake", prompt="$problem $step").fingerprint


async def test_it_is_shown_problem_steps_and_step_as_they_are() -> None:
    seen: list[str] = []

    def judge(prompt: str) -> AIMessage:
        seen.append(prompt)
        return AIMessage("7")

    reward = JudgeReward(judge, prompt="P $problem S $steps Y $step", concurrency=1)
    assert await reward.acall(PREFIX, STEPS) == [7 / 9] * 2
    assert sorted(seen) == [f"P What is $step 2+2? S two Y {text}" for text in ("So $problem 5.", "So 4.")]


def test_a_step_is_shown_as_one_paragraph() -> None:
    """Steps of another rule hold blank lines, which separate steps in the prompt."""
    seen: list[str] = []

    def judge(prompt: str) -> str:
        seen.append(prompt)
        return "9"

    before = Prefix("p", tuple(Step(text, (1,), 0.0, False) for text in ("a\n\nb.", "\n\n  c\n")))
    JudgeReward(judge, prompt="$problem|$steps|$step")(before, [Step("d\n \n\n  e.\n\n", (2,), 0.0, False)])
    assert seen == ["p|a\nb.\n\nc|d\n  e."]


def test_empty_steps_are_not_shown() -> None:
    seen: list[str] = []

    def judge(prompt: str) -> str:
        seen.append(prompt)
        return "9"

    reward = JudgeReward(judge, prompt="$problem|$steps|$step")
    empty = [Step("\n\n", (1,), 0.0, False), Step("", (1,), 0.0, True)]
    assert reward(PREFIX, empty) == [0.0, 1.0]
    assert seen == ["What is $step 2+2?|(nothing yet)|two"]
    assert reward(Prefix("p"), empty) == [0.0, 0.0]


@pytest.mark.parametrize("answer", ["", "10", "9/9", "Grade: 9", "nine", "-1", "８", ["9"], None])
def test_any_other_answer_is_an_error(answer: object) -> None:
    with pytest.raises(BackendError, match=r"for candidate 0 .* one digit from 0 to 9"):
        JudgeReward(lambda prompt: answer)(PREFIX, STEPS[:1])


def test_a_judge_that_thinks_is_read_behind_its_thinking() -> None:
    """Digits that were thought are none of its grade."""
    for answer in ("<think>\nIs it 3?\n</think>\n\n7", "Maybe 2.</think> 7\n", "[THINK]8[/THINK]7"):
        assert JudgeReward(FakeListChatModel(responses=[answer]))(PREFIX, STEPS) == [7 / 9] * 2
    for answer, told in {
        "<think>\nIs it 7": "asked for, and its thinking did not end: raise max_tokens",
        "<think>7</think>": "asked for$",
        "<think>x</think> Grade: 7": "asked for$",
        "7</think>": "asked for$",
    }.items():
        with pytest.raises(BackendError, match=told):
            JudgeReward(FakeListChatModel(responses=[answer]))(PREFIX, STEPS)


def test_a_number_is_no_answer() -> None:
    with pytest.raises(BackendError, match="one digit"):
        JudgeReward(lambda prompt: 7.0)(PREFIX, STEPS)


def test_a_prompt_must_show_the_step() -> None:
    with pytest.raises(ConfigError, match=r"does not show \$step"):
        JudgeReward(str, prompt="$problem")


class Plain:
    """A chat model of nobody's library."""

    def __init__(self, grade: str) -> None:
        self.grade = grade

    def invoke(self, prompt: str) -> str:
        return self.grade

    async def ainvoke(self, prompt: str) -> AIMessage:
        return AIMessage(self.grade)


async def test_any_object_with_invoke_and_ainvoke_judges() -> None:
    judge = JudgeReward(Plain("9"))
    assert judge(PREFIX, STEPS) == await judge.acall(PREFIX, STEPS) == [1.0, 1.0]
    assert judge.fingerprint == JudgeReward(Plain("9")).fingerprint != JudgeReward(Plain("8")).fingerprint


async def test_an_async_function_judges_where_it_is_awaited() -> None:
    async def grade(prompt: str) -> str:
        return "9"

    judge = JudgeReward(grade)
    assert await judge.acall(PREFIX, STEPS) == [1.0, 1.0]
    with pytest.raises(BackendError, match="the judge is an async function, and is asked by a synchronous run"):
        judge(PREFIX, STEPS)


async def test_one_failure_ends_the_call() -> None:
    def grade(prompt: str) -> str:
        raise BackendError("on fire")

    for _ in range(2):
        with pytest.raises(BackendError, match="on fire"):
            JudgeReward(grade)(PREFIX, STEPS)
        with pytest.raises(BackendError, match="on fire"):
            await JudgeReward(grade).acall(PREFIX, STEPS)


@pytest.mark.parametrize(
    "judge",
    [
        FakeListChatModel(responses=["9"]),
        ChatPromptTemplate.from_template("{x}") | FakeListChatModel(responses=["9"]),
        RunnablePassthrough() | FakeListChatModel(responses=["9", "8"], sleep=0.5),
    ],
    ids=["model", "chain", "longer chain"],
)
def test_a_langchain_judge_is_told_by_its_settings_as_langchain_writes_them(judge: Runnable[Any, Any]) -> None:
    """So a checkpoint of earlier versions, which used `dumpd`, goes on."""
    assert _plain(judge) == dumpd(judge)
    plain = JudgeReward(judge, name="x").fingerprint
    assert plain != JudgeReward(FakeListChatModel(responses=["7"]), name="x").fingerprint


def test_a_lambda_of_langchain_is_its_function() -> None:
    def grade(prompt: str) -> str:
        return "9"

    assert JudgeReward(RunnableLambda(grade)).fingerprint == JudgeReward(grade).fingerprint
    assert JudgeReward(RunnableLambda(grade))(PREFIX, STEPS) == [1.0, 1.0]


def test_a_served_judge_has_the_fingerprint_that_earlier_checkpoints_hold() -> None:
    judge = JudgeReward.connect(["http://127.0.0.1:9/v1"], "m")
    assert judge.fingerprint == "judge judge:http://127.0.0.1:9#m 7febd6e2081e7a8e+judge:53ff246c3c7a7b95"
    judge.close()


LISTED = {"8": 0.5, "7": 0.25, " 9": 0.125, "of": 0.125}
"""What stands in place of the grade 8, and how likely: Σ d p / Σ p = (4 + 1.75 + 1.125) / 0.875."""


def _thought(body: dict[str, Any], grade: str) -> dict[str, Any]:
    """An answer with its tokens, as /v1/chat/completions lists them; what it thinks holds digits, too."""
    tokens = ["<think>", "3", " is", " wrong", "</think>", "\n", grade, "<|im_end|>"]
    if body["max_tokens"] < len(tokens):
        tokens = tokens[: body["max_tokens"]]
    choice: dict[str, Any] = {"message": {"content": "".join(tokens).removesuffix("<|im_end|>")}}
    if body.get("logprobs") and body["model"] != "thinker-unlisted":
        entries = [{"token": token, "logprob": -0.1, "top_logprobs": []} for token in tokens]
        if grade in tokens:
            listed = LISTED if grade == "8" else {"1": 1.0}
            told = [{"token": token, "logprob": math.log(p)} for token, p in listed.items()]
            entries[-2] = {**told[0], "top_logprobs": told[: body["top_logprobs"]]}
        if body["model"] == "thinker-other":
            entries[-2] = {"token": "5", "logprob": -0.1, "top_logprobs": []}
        choice["logprobs"] = {"content": entries}
    return choice


class _Chat(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Silence."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = None if body["model"] == "mute" else "8" if "So 4." in body["messages"][0]["content"] else "1"
        choice: dict[str, Any] = {"message": {"content": text}}
        if body["model"].startswith("thinker"):
            choice = _thought(body, text or "")
        data = json.dumps({"choices": [choice]}).encode()
        self.send_response(200 if self.path == "/v1/chat/completions" else 404)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Chat)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_served_judge(url: str) -> None:
    judge = load_reward(f"judge:{url}#m?attempts=2")
    assert judge(PREFIX, STEPS) == [8 / 9, 1 / 9]
    mute = load_reward(f"judge:{url}#mute?attempts=2")
    with pytest.raises(BackendError, match="the answer has no text"):
        mute(PREFIX, STEPS)
    with pytest.raises(SpecError, match="model is not named"):
        load_reward(f"judge:{url}")
    for served in (judge, mute):
        assert isinstance(served, JudgeReward)
        served.close()


def test_a_served_judge_that_thinks_and_its_expected_grade(url: str) -> None:
    mean = (4 + 1.75 + 1.125) / 0.875 / 9
    for options, wanted in {
        "max_tokens=64": [8 / 9, 1 / 9],
        "max_tokens=64&read=expected": pytest.approx([mean, 1 / 9]),
    }.items():
        judge = load_reward(f"judge:{url}#thinker?{options}")
        assert judge(PREFIX, STEPS) == wanted
        close(judge)
    for name, options, told in [
        ("thinker", "", "its thinking did not end: raise max_tokens"),
        ("thinker", "&read=expected", "its thinking did not end: raise max_tokens"),
        (
            "thinker-unlisted",
            "&read=expected&max_tokens=64",
            "no log-probabilities of the grade's token.*Take read=expected",
        ),
        ("thinker-other", "&read=expected&max_tokens=64", "it says 8, and its tokens '5'"),
    ]:
        judge = load_reward(f"judge:{url}#{name}?attempts=1{options}")
        with pytest.raises(BackendError, match=told):
            judge(PREFIX, STEPS[:1])
        close(judge)
    with pytest.raises(SpecError, match="read='best' is unknown; known: grade, expected"):
        load_reward(f"judge:{url}#thinker?read=best")
    with pytest.raises(SpecError, match="max_tokens='0' should be at least 1"):
        load_reward(f"judge:{url}#thinker?max_tokens=0")


def test_the_settings_of_a_served_judge_are_in_its_fingerprint() -> None:
    settings: list[dict[str, Any]] = [
        {},
        {"max_tokens": 64},
        {"read": "expected"},
        {"max_tokens": 64, "read": "expected"},
    ]
    judges = [JudgeReward.connect(["http://127.0.0.1:9/v1"], "m", **one) for one in settings]
    assert len({judge.fingerprint for judge in judges}) == 4
    for judge in judges:
        judge.close()
