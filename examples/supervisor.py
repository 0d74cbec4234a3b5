"""The solver in a team: a supervisor (`pip install langgraph-supervisor`) hands problems over to the node itself."""

from collections.abc import Sequence
from typing import Any

from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage
from langgraph_supervisor import create_supervisor

from gsi_node import GSIConfig, compile_gsi, load_model, load_reward


class Scripted(FakeMessagesListChatModel):
    """In place of a model that calls tools, so that this runs without one: take yours, such as ChatOpenAI(…)."""

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self


script = [
    AIMessage("", tool_calls=[{"name": "transfer_to_mathematician", "args": {}, "id": "1"}]),
    AIMessage("The mathematician says 144."),
]
mathematician = compile_gsi(
    draft=load_model("pocket:draft"),
    base=load_model("pocket:base"),
    reward=load_reward("pocket"),
    config=GSIConfig(n=4, earlier_messages="ignore"),  # the messages of handing over are none of the problem
    name="mathematician",
)
team = create_supervisor([mathematician], model=Scripted(responses=list(script))).compile()
for message in team.invoke({"messages": [("user", "What is 12 * (7 + 5)?")]})["messages"]:
    print(f"{message.name or message.type:14} {message.text}")
