"""chat:… against a chat server of our own: what is sent, where steps end, what is said at start-up and refused."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gsi_node import GSIConfig, compile_gsi, load_model
from gsi_node.errors import BackendError, ConfigError, GSIError, LawMismatch, SpecError
from gsi_node.models.servers.chat import ChatStepModel
from gsi_node.models.servers.chat_rows import ChatRow, sent
from gsi_node.models.servers.replica import Failed
from gsi_node.step.methods import METHODS
from gsi_node.tables.models import TableModel
from gsi_node.tables.rewards import TableReward
from gsi_node.text.counted import CountedText
from gsi_node.text.tokens import Tokens
from gsi_node.types import PARAGRAPH, Ends, Key, Prefix, SamplingLaw, Turn
from tests.miniature import miniature_tokenizer
from tests.models.chatting import story
from tests.models.serving import Bigram, Server
from tests.token_world import tables

KEY, LAW = Key(3, "p", 0, "draft"), SamplingLaw()
COUNTED = CountedText("test")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(Bigram(12, [3])) as running:
        yield running


def spec(server: Server, query: str = "") -> str:
    return f"chat:{server.url}/v1#bigram{query}"


def opened(server: Server, query: str = "") -> ChatStepModel:
    model = load_model(spec(server, query))
    assert isinstance(model, ChatStepModel)
    return model


def row(*pieces: str, response: str = "", ends: Ends = PARAGRAPH, limit: int = 512, finish: str | None = "stop") -> Any:
    """The step of a stream of these pieces."""
    one = ChatRow({"m"}, sent(response), ends, COUNTED, limit)
    for piece in pieces:
        if one.more({"model": "m", "choices": [{"delta": {"content": piece}, "finish_reason": None}]}):
            return one.result()
    one.more({"choices": [{"delta": {}, "finish_reason": finish}]})
    one.more({"choices": [], "usage": {}})
    return one.result()


@pytest.mark.parametrize("cut", [1, 2, 3, 50])
def test_a_step_ends_at_its_end_however_the_answer_is_cut_into_events(cut: int) -> None:
    text = "Ä 1.\n\nB 2."
    pieces = [text[start : start + cut] for start in range(0, len(text), cut)]
    step = row(*pieces)
    assert (step.text, step.finished) == ("Ä 1.\n\n", False)
    assert step.beyond == ("B 2." if cut == 50 else step.beyond)
    assert row(*pieces, ends=Ends(())).text == text and row(*pieces, ends=Ends(())).finished
    assert row(*pieces, ends=Ends(("B",))).text == "Ä 1.\n\nB"
    assert row("\n", "a\n", "b", ends=Ends(("\n",), after_text=True)).text == "a\n"
    assert row(*pieces, limit=3).text == "Ä 1" and not row(*pieces, limit=3).finished


@pytest.mark.parametrize(
    ("response", "answer", "step"),
    [
        ("a.\n\n", "\n\nb\n\n", "b\n\n"),  # trimmed on the way there, and written anew
        ("a.\n\n", " \n\n  b\n\n", "  b\n\n"),
        ("a.\n\n", "b\n\n", "b\n\n"),
        ("a", "\n\nb", "\n\n"),  # nothing was trimmed: the end of this step
        ("a ", " b", "b"),
        ("a ", "\n\nb", "\n\n"),
        ("", "\n\nb\n\n", "b\n\n"),
        ("\n\n", "b", "b"),
    ],
)
def test_blanks_that_were_trimmed_and_come_anew_are_dropped(response: str, answer: str, step: str) -> None:
    assert row(answer, response=response).text == step
    assert row(*answer, response=response).text == step
    assert sent(response).text == response.rstrip()


@pytest.mark.parametrize(
    ("finish", "words"),
    [(None, "broke off"), ("content_filter", "ended by 'content_filter'"), ("tool_calls", "ended by 'tool_calls'")],
)
def test_an_answer_that_came_to_no_end_is_no_step(finish: str | None, words: str) -> None:
    with pytest.raises(Failed, match=words) as raised:
        row("a", finish=finish)
    assert raised.value.again == (finish is None)
    with pytest.raises(Failed, match="has no text"):
        row("", finish="length")
    assert row("a", finish="length") == row("a", finish="length") and not row("a", finish="length").finished


def test_what_is_sent(server: Server) -> None:
    with opened(server, "?system_prompt=Be%20brief&enable_thinking=false") as model:
        server.bodies.clear()
        (first,) = model.sample(Prefix("1+2", earlier=(Turn("user", "a"), Turn("assistant", "b"))), 1, KEY, LAW)
        (body,) = server.bodies
        assert body["messages"] == [
            {"role": "system", "content": "Be brief"},
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "1+2"},
        ]
        assert body["chat_template_kwargs"] == {"enable_thinking": False} and body["stream"] is True
        assert (body["temperature"], body["top_p"], body["max_tokens"]) == (0.7, 1.0, 512)
        assert (body["top_k"], body["repetition_penalty"]) == (-1, 1.0) and "stop" not in body
        assert "continue_final_message" not in body
        model.sample(Prefix("1+2", (first,)), 1, KEY, LAW)
        body = server.bodies[-1]
        assert body["messages"][-1] == {"role": "assistant", "content": first.text.rstrip()}
        assert body["continue_final_message"] is True and body["add_generation_prompt"] is False
    with opened(server, "?prefill=prefix") as model:
        model.sample(Prefix("1+2", (first,)), 1, KEY, LAW)
        body = server.bodies[-1]
        assert body["messages"][-1] == {"role": "assistant", "content": first.text.rstrip(), "prefix": True}
        openai = {"model", "messages", "seed", "temperature", "top_p", "max_tokens", "stream"}
        assert set(body) == openai


@pytest.mark.parametrize("streams", [True, False])
def test_steps_are_what_the_server_says_by_seed(streams: bool, server: Server) -> None:
    server.streaming.on = streams
    with opened(server) as model:
        assert model.streams == streams
        steps = model.sample(Prefix("1+2"), 5, KEY, LAW)
        seeds = [body["seed"] for body in server.bodies[-5:]]
        assert sorted(step.text for step in steps) == sorted(story("", s).partition("\n\n")[0] + "\n\n" for s in seeds)
        assert model.sample(Prefix("1+2"), 5, KEY, LAW) == steps == model.sample(Prefix("1+2"), 6, KEY, LAW)[:5]
        assert len({step.text for step in steps}) > 1 and all(step.log_prob_error == math.inf for step in steps)
        prefix = Prefix("1+2")
        while not (step := model.sample(prefix, 1, KEY, LAW)[0]).finished:
            prefix = prefix.extended(step)
        assert len(prefix.steps) == 3 and step.text.startswith("So it is") and step.token_ids[-1] in model.eos_ids
        assert model.step_of(prefix, step.token_ids, 0.0) == step
        cut = model.sample(Prefix("1+2"), 1, KEY, SamplingLaw(max_step_tokens=6))[0]
        assert cut.text == "Step 0" and not cut.finished
        assert streams == (steps[0].beyond < 10)


def test_what_cannot_be_honoured_is_said_at_start_up(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    def said(query: str = "") -> tuple[str, str]:
        caplog.clear()
        with caplog.at_level(logging.WARNING), opened(server, query) as model:
            warned = "; ".join(record.getMessage() for record in caplog.records)
            return "; ".join(model.findings), warned

    well = "seeds are honoured; no endpoint is told step ends: answers are streamed, and left there; an assistant turn"
    told, warned = said()
    assert well in told and "no log-probabilities" in told and "counted in characters" in told and not warned
    server.seeded = server.streaming.on = False
    told, warned = said()
    assert "seeds are NOT honoured" in warned and "it does NOT stream" in warned and warned.split(": ")[-1] in told
    server.seeded = server.streaming.on = True
    server.chatting.goes_on = False
    assert "adds 4 tokens to the prompt beside its text: it may be ENDED there" in said()[1]
    server.chatting.usage = False
    assert "CANNOT be told" in said()[1]
    assert "it answers whole (?prefill=none)" in said("?prefill=none")[1]


def test_an_answer_that_repeats_its_turn_is_read_behind_it(server: Server) -> None:
    with opened(server) as model:
        steps = model.sample(Prefix("1+2"), 1, KEY, LAW)
        wanted = model.sample(Prefix("1+2", tuple(steps)), 3, KEY, LAW)
    server.chatting.echoes = True
    with opened(server, "?attempts=2") as model:
        assert "which is taken off" in "; ".join(model.findings)
        assert model.sample(Prefix("1+2", tuple(steps)), 3, KEY, LAW) == wanted
        server.chatting.echoes = False
        with pytest.raises(BackendError, match="does not begin with the turn that it goes on from"):
            model.sample(Prefix("1+2", tuple(steps)), 1, KEY, LAW)


def test_reasoning_is_no_text_and_costs(server: Server) -> None:
    server.chatting.thought = "hm" * 20
    with opened(server) as model:
        step = model.sample(Prefix("1+2"), 1, KEY, LAW)[0]
        assert step.text.startswith("Step 0") and step.beyond >= 40


def test_a_stop_string_of_the_servers_own_is_refused(server: Server) -> None:
    with opened(server) as model:
        server.chatting.stop_reason = "###"
        with pytest.raises(BackendError, match="ended at the string '###'"):
            model.sample(
                Prefix("1+2", (model.sample(Prefix("1"), 1, KEY, LAW)[0],)), 1, KEY, SamplingLaw(ends=Ends(()))
            )


def test_steps_are_counted_in_a_tokenizer_that_is_given(server: Server, tmp_path: Path) -> None:
    miniature_tokenizer().save_pretrained(tmp_path)
    with opened(server, f"?tokenizer={tmp_path}") as model:
        step = model.sample(Prefix("1+2"), 1, KEY, LAW)[0]
        own = tuple(miniature_tokenizer().encode(step.text, add_special_tokens=False))
        assert step.token_ids == own == model.encode(step.text)
        cut = model.sample(Prefix("1+2"), 1, KEY, SamplingLaw(max_step_tokens=4))[0]
        assert step.text.startswith(cut.text) and model.encode(cut.text) == cut.token_ids and len(cut.token_ids) <= 4
        assert "tokens of ?tokenizer" in model.findings[0]
        ids = Tokens.of_folder(str(tmp_path), "own").vocabulary  # what it sampled is not known to be these ids
        assert model.vocabulary != ids and ids in model.vocabulary
        other = load_model(spec(server))
        assert other.vocabulary != model.vocabulary and other.fingerprint != model.fingerprint


def test_whole_answers_only(server: Server) -> None:
    reward = TableReward(lambda prefix, step: 0.5, name="half")
    with opened(server, "?prefill=none") as model:
        parts: dict[str, Any] = {"draft": model, "base": None, "reward": reward}
        with pytest.raises(LawMismatch, match=r'answers whole .*"tokens:K".* max_steps to 1'):
            compile_gsi(**parts, config=GSIConfig(method="bon-draft", max_steps=1))
        whole: dict[str, Any] = {"method": "bon-draft", "n": 3, "step_end": "tokens:400"}
        with pytest.raises(ConfigError, match="set max_steps to 1, which is 64"):
            compile_gsi(**parts, config=GSIConfig(**whole))
        graph = compile_gsi(**parts, config=GSIConfig(**whole, max_steps=1))
        result = graph.invoke({"problem": "1+2"})
        assert result["stop_reason"] == "eos" and result["answer"] and len(result["steps"]) == 1
        with pytest.raises(ConfigError, match="cannot go on from 'So far'.*no initial_steps"):
            graph.invoke({"problem": "1+2", "initial_steps": [{"text": "So far"}]})


@pytest.fixture(scope="module")
def chat_model() -> Iterator[ChatStepModel]:
    with Server(Bigram(12, [3])) as running, opened(running) as found:
        yield found


@pytest.mark.parametrize("role", ["draft", "base"])
@pytest.mark.parametrize("method", METHODS)
def test_methods_that_need_probabilities_refuse_it_and_name_those_that_do_not(
    method: str, role: str, chat_model: ChatStepModel
) -> None:
    other: Any = tables()[0] if METHODS[method].propose == "specdec" else TableModel({"a\n\n": 1.0})
    pair: dict[str, Any] = {"draft": other, "base": other, role: chat_model}
    reward = TableReward(lambda prefix, step: 0.5, name="half")
    config = GSIConfig(method=method, step_end="paragraph")
    if METHODS[method].by_text:
        compile_gsi(**pair, reward=reward, config=config)
        return
    with pytest.raises(ConfigError, match=f": {', '.join(n for n, rule in METHODS.items() if rule.by_text)}$"):
        compile_gsi(**pair, reward=reward, config=config)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?prefill=assistant", "prefill is 'assistant'; write continue_final_message, prefix, none"),
        ("?use_chat_template=false", "the endpoint renders the prompt"),
        ("?timeout=0", "timeout is 0"),
    ],
)
def test_options_that_cannot_be_meant(query: str, words: str, server: Server) -> None:
    with pytest.raises(ConfigError, match=words):
        load_model(spec(server, query))


def test_replicas_must_list_one_model(server: Server) -> None:
    with Server(Bigram(12, [3]), folder="/elsewhere") as other:
        with pytest.raises(BackendError, match="serve one model at every address"):
            load_model(f"chat:{server.url}/v1#bigram | {other.url}/v1#bigram")
        other.folder = ""
        with load_model(f"chat:{server.url}/v1#bigram | {other.url}/v1#bigram") as model:  # type: ignore[attr-defined]
            model.sample(Prefix("1+2"), 8, KEY, LAW)
            assert other.requests > 0
    with pytest.raises(SpecError, match="serves no model 'large'"):
        load_model(f"chat:{server.url}/v1#large")


def test_it_scores_nothing(server: Server) -> None:
    with opened(server) as model:
        steps = model.sample(Prefix("1+2"), 1, KEY, LAW)
        with pytest.raises(LawMismatch, match="tells no log-probabilities"):
            model.score(Prefix("1+2"), steps, LAW)
        with pytest.raises(GSIError):
            model.sample(Prefix("1+2"), 0, KEY, LAW)
