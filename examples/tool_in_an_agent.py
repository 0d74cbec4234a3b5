"""The solver as a tool of an agent (`pip install langchain`): the agent's model asks, the tool's answer comes back."""

from collections.abc import Sequence
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, ToolMessage

from gsi_node import GSIConfig, compile_gsi, gsi_tool, load_model, load_reward


class Scripted(FakeMessagesListChatModel):
    """In place of a model that calls tools, so that this runs without one: take yours, such as ChatOpenAI(…)."""

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self


def call(number: int, problem: str) -> Any:
    return {"name": "solve", "args": {"problem": problem}, "id": str(number)}


script = [
    AIMessage("", tool_calls=[call(1, "What is 12 * (7 + 5)?"), call(2, "Solve for x: 3x + 7 = 25.")]),
    AIMessage("The first is 144, the second 6."),
]
parts: Any = {"draft": load_model("pocket:draft"), "base": load_model("pocket:base"), "reward": load_reward("pocket")}
solve = gsi_tool(compile_gsi(**parts, config=GSIConfig(n=4)))

agent: Any = create_agent(Scripted(responses=list(script)), tools=[solve])
for message in agent.invoke({"messages": [("user", "What is 12 * (7 + 5), and where is 3x + 7 = 25?")]})["messages"]:
    print(f"{message.type:5} {message.text or [one['args'] for one in message.tool_calls]}")
    if isinstance(message, ToolMessage):  # the records are in the artifact, which no model is shown
        print(f"      accepted {message.artifact['acceptance_rate']:.2f}")
