"""gsi_tool: the node, or the math solver, as a tool of any agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from langchain_core.tools import BaseTool, StructuredTool
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from gsi_node.graph.compiled import CompiledWholeRun
from gsi_node.step.problem import read_text
from gsi_node.types import Plain

DESCRIPTION = (
    "Solves one problem step by step and returns the answer with the reasoning. It knows nothing of the conversation: "
    "state the whole problem."
)


class ToolInput(BaseModel):
    """What a model that calls the tool writes. Its mistakes are told to it, since they are validation errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    problem: Annotated[
        str,
        AfterValidator(lambda problem: read_text(problem, "problem")),
        Field(description="the whole problem, in words"),
    ]


def gsi_tool(gsi: CompiledWholeRun, *, name: str = "solve", description: str = DESCRIPTION) -> BaseTool:
    """A tool with one argument, `problem`. Content: the answer and the reasoning; artifact: the run's output without
    its messages, the records in `steps` among it, which no model is shown.

    gsi: a compiled node or solver. Under a graph with a checkpointer a run of it goes on after a crash, as that of a
    mounted node does. Calls raise GSIError.
    """

    def solve(problem: str) -> tuple[str, Plain]:
        return content_and_artifact(gsi.invoke({"problem": problem}))

    async def asolve(problem: str) -> tuple[str, Plain]:
        return content_and_artifact(await gsi.ainvoke({"problem": problem}))

    return StructuredTool.from_function(
        solve,
        asolve,
        name=name,
        description=description,
        args_schema=ToolInput,
        response_format="content_and_artifact",
    )


def content_and_artifact(result: Mapping[str, Any]) -> tuple[str, Plain]:
    """What a model that called is shown of a run's output, and what it is not."""
    answer = result["answer"]
    head = f"No answer: {result['stop_reason']}" if answer is None else f"Answer: {answer}"
    return f"{head}\n\n{result['response']}", {key: value for key, value in result.items() if key != "messages"}
