"""`gsi serve --mcp`: the solver as a tool of the Model Context Protocol, over standard input and output, to a client
that starts this process and ends it; or over HTTP (mcp_http.py). Needs the extra `mcp`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Annotated, Any

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, TextContent
from pydantic import Field

from gsi_node.errors import GSIError
from gsi_node.graph.compiled import CompiledWholeRun
from gsi_node.graph.told import Told
from gsi_node.graph.tool import DESCRIPTION, content_and_artifact
from gsi_node.host.strict_json import finite
from gsi_node.service.base import OVER
from gsi_node.service.chat import summary, without_ids
from gsi_node.service.solving import Solving
from gsi_node.types import Plain


def tool_server(
    graph: CompiledWholeRun,
    name: str = "gsi",
    *,
    within: Callable[[], AbstractAsyncContextManager[object]] = nullcontext,
    bill: Callable[[Plain], None] = lambda state: None,
) -> MCPServer[Any]:
    """A server with one tool, `solve`: the answer and the reasoning as text, the numbers as structured content; each
    step is told as progress. A run ends when its call is cancelled.

    within: what a run holds while it works. bill: gets a run's last state, however it ended.
    """
    server: MCPServer[Any] = MCPServer(name, log_level="WARNING")

    async def solve(
        problem: Annotated[str, Field(description="the problem, whole and in words")], ctx: Context[Any, Any]
    ) -> CallToolResult:
        # in a task of its own: anyio cancels every await of a call's task, also those by which LangGraph ends what it
        # had begun
        run = Solving(graph, {"problem": problem}, {}, told=Told(None), within=within(), bill=bill)
        try:
            async for record in run.records():
                await ctx.report_progress(record["index"] + 1, message=record["text"])
            state = await run.outcome()
        except GSIError as error:
            raise ToolError(f"{type(error).__name__}: {error}") from error
        except TimeoutError as error:
            raise ToolError(OVER) from error
        finally:
            run.cancel()
        content, _ = content_and_artifact(state)
        numbers = {**summary(state), "steps": [without_ids(record) for record in state["steps"]]}
        return CallToolResult(
            content=[TextContent(type="text", text=content)],
            structured_content=finite(numbers),
        )

    server.add_tool(solve, description=DESCRIPTION)
    return server
