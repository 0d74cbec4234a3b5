"""langgraph-supervisor, langgraph-swarm and deepagents: the solver in a team of agents."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver

from gsi_node import gsi_tool
from gsi_node.errors import ConfigError
from tests.graph.test_persistence import Crash, crashing
from tests.graph.world import compiled, thread
from tests.plugs.clients import Scripted, calls, client, counted, scripted, told

create_agent = client("langchain.agents").create_agent
create_supervisor = client("langgraph_supervisor").create_supervisor
swarm = client("langgraph_swarm")
create_deep_agent = client("deepagents").create_deep_agent
ASKED = {"messages": [HumanMessage("What is p?")]}
# langgraph-supervisor 0.0.31 calls what LangGraph 1 has moved.
by_supervisor = pytest.mark.filterwarnings("ignore:create_react_agent has been moved")


def mathematician(*tools: Any, model: Scripted) -> Any:
    return create_agent(model, tools=[gsi_tool(compiled()), *tools], name="mathematician")


def results(found: Any) -> list[str]:
    return [message.text for message in found["messages"] if isinstance(message, ToolMessage)]


@by_supervisor
async def test_supervisor_hands_over_to_an_agent_that_solves() -> None:
    for how in ("invoke", "ainvoke"):
        worker = scripted(calls("solve", {"problem": "p"}), AIMessage("It is 7."))
        boss = scripted(calls("transfer_to_mathematician", {}), AIMessage("The team says 7."))
        team = create_supervisor([mathematician(model=worker)], model=boss, output_mode="full_history").compile()
        found = getattr(team, how)(ASKED)
        found = found if how == "invoke" else await found
        assert told("p") in results(found) and told("p") in [message.content for message in worker.read[-1]]
        assert found["messages"][-1].content == "The team says 7."


@by_supervisor
async def test_supervisor_leads_the_node_itself() -> None:
    """Which reads past the messages of the handing over if it is told to, and else says why not."""
    script = calls("transfer_to_gsi", {}), AIMessage("The solver says 7.")
    boss = scripted(*script)
    gsi = compiled(earlier_messages="ignore")
    found = await create_supervisor([gsi], model=boss).compile().ainvoke(ASKED)
    want = gsi.invoke(ASKED)["response"]
    assert want in [message.content for message in found["messages"]]
    assert want in [message.content for message in boss.read[-1]]
    with pytest.raises(ConfigError, match=r"messages\[1\].*set earlier_messages to 'ignore'"):
        await create_supervisor([compiled()], model=scripted(*script)).compile().ainvoke(ASKED)


async def test_swarm_hands_over_to_an_agent_that_solves() -> None:
    for how in ("invoke", "ainvoke"):
        front = scripted(calls("transfer_to_mathematician", {}))
        worker = scripted(calls("solve", {"problem": "p"}, {"problem": "q"}), AIMessage("7 twice."))
        hand_over = swarm.create_handoff_tool(agent_name="mathematician")
        agents = [create_agent(front, tools=[hand_over], name="front"), mathematician(model=worker)]
        team = swarm.create_swarm(agents, default_active_agent="front").compile(checkpointer=InMemorySaver())
        found = getattr(team, how)(ASKED, thread())
        found = found if how == "invoke" else await found
        assert results(found)[1:] == [told("p"), told("q")]
        assert found["active_agent"] == "mathematician" and found["messages"][-1].content == "7 twice."


def deep(model: Scripted, gsi: Any, **given: Any) -> Any:
    sub = {"name": "solver", "description": "Solves one math problem.", "runnable": gsi}
    return create_deep_agent(model, subagents=[sub], **given)


def tasks(*problems: str) -> AIMessage:
    return calls("task", *({"description": one, "subagent_type": "solver"} for one in problems))


async def test_deepagents_subagent_answers_tasks_side_by_side() -> None:
    for how in ("invoke", "ainvoke"):
        model = scripted(tasks("p", "q"), AIMessage("7 and 7."))
        found = getattr(deep(model, compiled()), how)(ASKED)
        found = found if how == "invoke" else await found
        want = [compiled().invoke({"problem": one})["response"].rstrip() for one in ("p", "q")]
        assert results(found) == want and found["messages"][-1].content == "7 and 7."
        assert "task" in model.offered and found.keys() <= {"messages", "todos", "files"}


@pytest.mark.parametrize("at", [2, 5])
async def test_deepagents_subagent_goes_on_after_a_crash(at: int) -> None:
    parts = crashing("base", "score", at)
    whole = len(compiled().invoke({"problem": "p"})["steps"])
    model = scripted(tasks("p"), AIMessage("7."))
    agent = deep(model, compiled(parts=parts), checkpointer=InMemorySaver())
    with pytest.raises(Crash):
        await agent.ainvoke(ASKED, thread())
    again = counted(parts["draft"])
    found = await agent.ainvoke(None, thread())
    assert results(found) == [compiled().invoke({"problem": "p"})["response"].rstrip()]
    assert len(again) < whole


async def test_deepagents_main_agent_solves_by_the_tool() -> None:
    model = scripted(calls("solve", {"problem": "p"}), AIMessage("7."))
    found = create_deep_agent(model, tools=[gsi_tool(compiled())]).invoke(ASKED)
    assert results(found) == [told("p")] and "solve" in model.offered
