"""The conversation before the last human message: who reads it, who keeps it, and what of it is refused by name."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, MessagesState, StateGraph

from gsi_node import Models, asolve, compile_gsi, load_model, load_reward, solve
from gsi_node.errors import ResumeMismatch
from gsi_node.tables.rewards import TableReward
from gsi_node.types import Prefix, Step
from tests.graph.talk import CHAT, EARLIER, QUESTION, parts, solver, talking, worth
from tests.graph.test_persistence import Crash, crash_once
from tests.graph.world import config, environment, plain, thread
from tests.service.running import running

HEARD = "s8 u6 a16 u12"
ALONE = "u12"


# --- who reads it ---------------------------------------------------------------------------------------------------


def test_draft_base_and_reward_read_the_turns_before_the_last_human_message() -> None:
    made = parts()
    seen: dict[Any, set[Any]] = {}

    def spied(role: str, method: str) -> Any:
        inner = getattr(made[role], method)

        def spy(prefix: Prefix, *args: Any) -> Any:
            seen.setdefault((role, method), set()).add((prefix.earlier, prefix.problem))
            return inner(prefix, *args)

        return spy

    for role, method in (("draft", "sample"), ("base", "score"), ("base", "sample")):
        setattr(made[role], method, spied(role, method))

    def reward(prefix: Prefix, step: Step) -> float:
        seen.setdefault(("reward", "__call__"), set()).add((prefix.earlier, prefix.problem))
        return worth(prefix, step)

    graph = compile_gsi(**{**made, "reward": TableReward(reward)}, config=config(threshold=0.9))
    out = graph.invoke({"messages": CHAT})
    assert out["answer"] == HEARD and out["acceptance_rate"] < 1
    assert seen.keys() == {("draft", "sample"), ("base", "score"), ("base", "sample"), ("reward", "__call__")}
    assert all(found == {(EARLIER, QUESTION)} for found in seen.values())
    assert [type(message) for message in out["messages"]] == [*map(type, CHAT), AIMessage]


async def test_every_way_to_run_gives_the_same() -> None:
    graph, asked = talking(), {"messages": CHAT}
    want = plain(graph.invoke(asked))
    assert want["answer"] == HEARD
    assert plain(await graph.ainvoke(asked)) == want
    assert plain(list(graph.stream(asked, stream_mode="values"))[-1])["steps"] == want["steps"]
    events = [event["gsi_step"]["text"] for event in graph.stream(asked, stream_mode="custom")]
    assert events == [step["text"] for step in want["steps"]]
    dicts = [{"role": role, "content": text} for role, text in (*EARLIER, ("user", QUESTION))]
    assert plain(graph.invoke({"messages": dicts}))["steps"] == want["steps"]
    own = Models(**parts())
    assert solve(QUESTION, own, config(), earlier=EARLIER).steps == want["steps"]
    assert (await asolve(QUESTION, own, config(), earlier=EARLIER)).steps == want["steps"]


async def test_every_sample_of_the_solver_reads_it() -> None:
    asked = {"messages": CHAT, "n_samples": 3}
    out = solver().invoke(asked)
    assert [sample["answer"] for sample in out["samples"]] == [HEARD] * 3
    assert out["samples"][0]["steps"] == talking().invoke({"messages": CHAT})["steps"]
    awaited = await solver().ainvoke(asked)
    assert [s["steps"] for s in awaited["samples"]] == [s["steps"] for s in out["samples"]]


def test_the_wire_carries_it() -> None:
    made = parts()
    with (
        running(model=made["draft"]) as draft,
        running(model=made["base"]) as base,
        running(reward=made["reward"]) as reward,
    ):
        far: Any = {
            "draft": load_model(f"remote:{draft}"),
            "base": load_model(f"remote:{base}"),
            "reward": load_reward(f"remote:{reward}"),
        }
        out = compile_gsi(**far, config=config()).invoke({"messages": CHAT})
        for part in far.values():
            part.close()
    assert out["steps"] == talking().invoke({"messages": CHAT})["steps"]


def test_a_problem_stands_alone_whatever_the_messages_beside_it() -> None:
    out = talking().invoke({"problem": QUESTION, "messages": [*CHAT, ToolMessage("x", tool_call_id="1")]})
    assert out["steps"] == talking().invoke({"problem": QUESTION})["steps"]
    assert out["answer"] == ALONE


# --- what is kept ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", range(1, 5))
def test_a_second_question_on_a_thread_carries_the_first_and_its_answer_through_a_crash(
    at: int, tmp_path: Path
) -> None:
    asked = [{"messages": [HumanMessage("2 + 2?")]}, {"messages": [HumanMessage(QUESTION)]}]
    want = [talking(InMemorySaver()).invoke(asked[0], thread())]
    response = want[0]["response"]
    want.append(talking().invoke({"messages": [HumanMessage("2 + 2?"), AIMessage(response), HumanMessage(QUESTION)]}))
    assert want[1]["answer"] == f"u6 a{len(response)} u12"
    with SqliteSaver.from_conn_string(str(tmp_path / "c.sqlite")) as saver:
        graph = talking(saver)
        assert plain(graph.invoke(asked[0], thread())) == plain(want[0])
        made = parts()
        made["base"].score = crash_once(made["base"].score, at)
        with pytest.raises(Crash):
            compile_gsi(**made, config=config(), checkpointer=saver).invoke(asked[1], thread())
        out = graph.invoke(None, thread())
    assert out["steps"] == want[1]["steps"] and out["stop_reason"] == want[1]["stop_reason"]
    assert [m.content for m in out["messages"]] == [m.content for m in want[1]["messages"]]


CHILD = "from tests.graph import test_conversations; test_conversations.child()"


def child() -> None:
    """The process that gets killed: two questions on one thread, begun or resumed; prints the texts of the second."""
    with SqliteSaver.from_conn_string(sys.argv[1]) as saver:
        graph = talking(saver, delay=0.03)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        for number, question in enumerate(("2 + 2?", QUESTION), 1):
            state = graph.get_state(thread())
            humans = sum(isinstance(message, HumanMessage) for message in state.values.get("messages", []))
            if humans < number:
                graph.invoke({"messages": [HumanMessage(question)]}, thread())
            elif state.tasks:
                graph.invoke(None, thread())
        sys.stdout.write(json.dumps([step["text"] for step in graph.get_state(thread()).values["steps"]]) + "\n")


def test_a_conversation_killed_at_random_moments(tmp_path: Path) -> None:
    graph = talking(InMemorySaver())
    graph.invoke({"messages": [HumanMessage("2 + 2?")]}, thread())
    want = [step["text"] for step in graph.invoke({"messages": [HumanMessage(QUESTION)]}, thread())["steps"]]
    rng, killed = random.Random(3), 0
    for after in [rng.uniform(0.1, 0.25) for _ in range(3)] + [None]:
        command = [sys.executable, "-c", CHILD, str(tmp_path / "c.sqlite")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            if after is not None:
                time.sleep(after)
                process.send_signal(signal.SIGKILL)
            said = process.stdout.readline()
        killed += not said
        if said:
            break
    assert killed >= 2 and json.loads(said) == want


def parent(node: Any, saver: Any) -> Any:
    graph: StateGraph[Any] = StateGraph(MessagesState)
    graph.add_node("gsi", node)
    graph.add_edge(START, "gsi")
    graph.add_edge("gsi", END)
    return graph.compile(checkpointer=saver)


def test_mounted_in_a_graph_of_messages_each_question_carries_those_before_it() -> None:
    saver = InMemorySaver()
    first = parent(talking(), saver).invoke({"messages": [SystemMessage("be brief"), HumanMessage("2 + 2?")]}, thread())
    made = parts()
    made["base"].score = crash_once(made["base"].score, 3)
    with pytest.raises(Crash):
        parent(compile_gsi(**made, config=config()), saver).invoke({"messages": [HumanMessage(QUESTION)]}, thread())
    out = parent(talking(), saver).invoke(None, thread())
    whole = talking().invoke({"messages": [*first["messages"], HumanMessage(QUESTION)]})
    assert [m.content for m in out["messages"]] == [m.content for m in whole["messages"]]
    assert whole["answer"] == f"s8 u6 a{len(first['messages'][-1].content)} u12"


def test_a_mounted_node_that_ignores_them_knows_its_own_run() -> None:
    out = parent(talking(earlier_messages="ignore"), InMemorySaver()).invoke({"messages": CHAT}, thread())
    assert out["messages"][-1].response_metadata["answer"] == ALONE


def test_a_subgraph_with_a_memory_of_its_own_carries_what_it_answered_before() -> None:
    node = talking(True)
    graph: StateGraph[Any] = StateGraph(MessagesState)
    graph.add_node(
        "ask", lambda state: {"messages": node.invoke({"messages": state["messages"][-1:]})["messages"][-1:]}
    )
    graph.add_edge(START, "ask")
    whole = graph.compile(checkpointer=InMemorySaver())
    whole.invoke({"messages": [HumanMessage("2 + 2?")]}, thread())
    out = whole.invoke({"messages": [HumanMessage(QUESTION)]}, thread())
    answer = talking().invoke({"messages": [HumanMessage("2 + 2?")]})["response"]
    assert out["messages"][-1].response_metadata["answer"] == f"u6 a{len(answer)} u12"


def test_a_call_that_resumes_another_conversation_with_the_same_question_is_a_mistake() -> None:
    made = parts()
    made["draft"].sample = crash_once(made["draft"].sample, 7)
    node, turned = compile_gsi(**made, config=config()), [False]

    def twice(state: Any) -> Any:
        chats = [CHAT, CHAT[1:]]
        for chat in reversed(chats) if turned[0] else chats:
            node.invoke({"messages": chat})
        return {}

    graph: StateGraph[Any] = StateGraph(MessagesState)
    graph.add_node("twice", twice)
    graph.add_edge(START, "twice")
    whole = graph.compile(checkpointer=InMemorySaver())
    with pytest.raises(Crash):
        whole.invoke({"messages": []}, thread())
    turned[0] = True
    with pytest.raises(ResumeMismatch, match="this call asks for"):
        whole.invoke(None, thread())


def test_a_run_goes_on_with_what_it_asked_whatever_is_set_by_now() -> None:
    for then, now, answer in (("carry", "ignore", HEARD), ("ignore", "carry", ALONE), ("carry", "refuse", HEARD)):
        saver, made = InMemorySaver(), parts()
        made["base"].score = crash_once(made["base"].score, 2)
        with pytest.raises(Crash):
            begun = compile_gsi(**made, config=config(earlier_messages=then), checkpointer=saver)
            begun.invoke({"messages": CHAT}, thread())
        assert talking(saver, earlier_messages=now).invoke(None, thread())["answer"] == answer
