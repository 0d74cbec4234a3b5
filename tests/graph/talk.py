"""Table models that say what conversation they read, so that a response tells it; importable from subprocesses."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from gsi_node import MathSolver
from gsi_node.tables.rewards import TableReward
from gsi_node.types import Prefix, Step, Turn
from tests.graph.world import Slow, compiled, config

EARLIER = (Turn("system", "be brief"), Turn("user", "2 + 2?"), Turn("assistant", r"It is \boxed{4}."))
QUESTION = "and times 3?"
CHAT = [
    SystemMessage("be brief"),
    HumanMessage("2 + 2?"),
    AIMessage(r"It is \boxed{4}."),
    HumanMessage(QUESTION),
]


def heard(prefix: Prefix) -> str:
    """The conversation in short: role and length of each turn."""
    return " ".join(f"{turn.role[0]}{len(turn.content)}" for turn in (*prefix.earlier, Turn("user", prefix.problem)))


def telling(good: float) -> Any:
    """Four steps, each of which says what was heard, then the answer."""

    def law(prefix: Prefix) -> dict[str, float]:
        if len(prefix.steps) == 4:
            return {rf"\boxed{{{heard(prefix)}}}": 1.0}
        return {f"{word} {heard(prefix)}\n\n": p for word, p in (("good", good), ("bad", 1 - good))}

    return law


def worth(prefix: Prefix, step: Step) -> float:
    """Less with every turn before the problem."""
    return (0.9 if "good" in step.text or "boxed" in step.text else 0.3) - 0.02 * len(prefix.earlier)


def parts(delay: float = 0.0) -> dict[str, Any]:
    """draft, base, reward; the first two take `delay` seconds a call."""
    made: dict[str, Any] = {
        "draft": Slow(telling(0.4), name="draft"),
        "base": Slow(telling(0.8), name="base"),
        "reward": TableReward(worth, name="reward"),
    }
    made["draft"].delay = made["base"].delay = delay
    return made


def talking(checkpointer: Any = None, delay: float = 0.0, **fields: Any) -> Any:
    """The node over them."""
    return compiled(checkpointer=checkpointer, parts=parts(delay), **fields)


def solver(**fields: Any) -> Any:
    """The math solver over them."""
    return MathSolver(**parts(), config=config(**fields)).build().compile()
