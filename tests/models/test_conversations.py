"""A conversation through the node to models with chat templates: what they read is what a prompt file would have put
before the same question.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langgraph.checkpoint.memory import InMemorySaver

from gsi_node import GSIConfig, compile_gsi, load_model
from gsi_node.errors import ConfigError
from gsi_node.tables.rewards import TableReward
from gsi_node.text.tokens import Tokens
from gsi_node.types import Prefix, SamplingLaw, Turn
from tests.miniature import build_miniature, miniature_tokenizer
from tests.models.serving import MODEL, Bigram, Server

CONFIG = GSIConfig(n=3, beta=4.0, threshold=0.55, max_step_tokens=12, max_steps=3)
SHOTS = [{"role": "user", "content": "1+1 <eos>"}, {"role": "assistant", "content": "is 2."}]
ASKED = [HumanMessage("1+1 <eos>"), AIMessage("is 2."), HumanMessage("and 7")]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    made = {
        role: build_miniature(root / role, dtype="float64", seed=seed) for seed, role in enumerate(("draft", "base"))
    }
    return made | {"plain": build_miniature(root / "plain", chat=False)}


def node(folders: dict[str, Path], options: str = "", saver: Any = None) -> Any:
    parts: Any = {role: load_model(f"hf:{folders[role]}?dtype=float64{options}") for role in ("draft", "base")}
    reward = TableReward(lambda prefix, step: 0.7 if len(step.text) % 3 else 0.3, name="length")
    return compile_gsi(**parts, reward=reward, config=CONFIG, checkpointer=saver)


def shots(folder: Path, turns: list[dict[str, str]]) -> str:
    file = folder / "prompt.json"
    file.write_text(json.dumps({"messages": turns}), "utf-8")
    return f"&prompt={file}"


def test_turns_are_read_as_those_of_a_prompt_file(folders: dict[str, Path], tmp_path: Path) -> None:
    alone = {"problem": "and 7", "problem_id": "x"}
    talked = node(folders).invoke({"messages": ASKED, "problem_id": "x"})
    assert talked["steps"] == node(folders, shots(tmp_path, SHOTS)).invoke(alone)["steps"]
    assert talked["steps"] != node(folders).invoke(alone)["steps"]
    assert False in {step["accepted"] for step in talked["steps"]}  # the base wrote some of them
    chat = [SystemMessage("Be kind."), HumanMessage("and 7")]
    kind = node(folders).invoke({"messages": chat, "problem_id": "x"})
    assert kind["steps"] == node(folders, "&system_prompt=Be kind.").invoke(alone)["steps"]
    with pytest.raises(ConfigError, match="the conversation has a system turn, and the spec .* sets system_prompt"):
        node(folders, "&system_prompt=Be kind.").invoke({"messages": chat})


def test_a_second_question_on_a_thread_reads_the_first_and_its_answer(folders: dict[str, Path], tmp_path: Path) -> None:
    graph, thread = node(folders, saver=InMemorySaver()), {"configurable": {"thread_id": "t"}}
    first = graph.invoke({"messages": [HumanMessage("1+1 <eos>")]}, thread)
    second = graph.invoke({"messages": [HumanMessage("and 7")], "problem_id": "x"}, thread)
    answered = [SHOTS[0], {"role": "assistant", "content": first["response"]}]
    want = node(folders, shots(tmp_path, answered)).invoke({"problem": "and 7", "problem_id": "x"})
    assert second["steps"] == want["steps"]


def test_a_model_without_a_chat_template_says_what_to_do(folders: dict[str, Path]) -> None:
    plain = load_model(f"hf:{folders['plain']}")
    config = CONFIG.model_copy(update={"method": "base"})
    with pytest.raises(ConfigError, match=r'plain is given a completion prompt.* earlier_messages="ignore"'):
        compile_gsi(draft=None, base=plain, reward=None, config=config).invoke({"messages": ASKED})
    ignoring = compile_gsi(
        draft=None, base=plain, reward=None, config=config.model_copy(update={"earlier_messages": "ignore"})
    )
    assert ignoring.invoke({"messages": ASKED})["steps"]


@pytest.mark.parametrize("kind", ["server", "sglang"])
def test_a_server_is_sent_it_in_the_prompt(kind: str, tmp_path: Path) -> None:
    miniature_tokenizer().save_pretrained(tmp_path)
    tokens = Tokens.of_folder(str(tmp_path), "test")
    with Server(Bigram(tokens.size, tokens.step_ends(SamplingLaw()).sure_ids), folder=str(tmp_path)) as server:
        url = f"server:{server.url}/v1#{MODEL}" if kind == "server" else f"sglang:{server.url}"
        model: Any = load_model(f"{url}?tokenizer={tmp_path}")
        server.bodies.clear()
        config = CONFIG.model_copy(update={"method": "base", "max_steps": 1})
        compile_gsi(draft=None, base=model, reward=None, config=config).invoke({"messages": ASKED})
        model.close()
    sent = [body["prompt" if kind == "server" else "input_ids"] for body in server.bodies]
    earlier = tuple(Turn(turn["role"], turn["content"]) for turn in SHOTS)
    want = list(tokens.prefix_ids(Prefix("and 7", earlier=earlier)))
    assert sent and all(prompt in (want, [want]) for prompt in sent)
    assert "is 2." in tokens.codec.decode(tuple(want))
