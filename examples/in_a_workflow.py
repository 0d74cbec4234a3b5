"""GSI as one node of a LangGraph workflow of your own: before it a problem is read, after it the answer is told."""

from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph

from gsi_node import GSIConfig, compile_gsi, load_model, load_reward


class Desk(TypedDict, total=False):
    letter: str
    problem: str
    answer: str | None
    note: str


def read(state: Desk) -> Desk:
    return {"problem": state["letter"].partition(":")[2].strip()}


def look(state: Desk) -> Desk:
    return {"note": f"the answer is {state['answer']}" if state["answer"] else "no answer"}


draft, base, reward = load_model("pocket:draft"), load_model("pocket:base"), load_reward("pocket")
gsi = compile_gsi(draft=draft, base=base, reward=reward, config=GSIConfig(n=4))
workflow: StateGraph[Any, Any, Any, Any] = StateGraph(Desk)
workflow.add_node("read", read)
workflow.add_node("gsi", gsi)  # reads `problem`, and writes `answer`
workflow.add_node("look", look)
for one, next_one in ((START, "read"), ("read", "gsi"), ("gsi", "look"), ("look", END)):
    workflow.add_edge(one, next_one)
print(workflow.compile().invoke({"letter": "Dear all: What is 12 * (7 + 5)?"})["note"])
