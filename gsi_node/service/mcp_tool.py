"""`gsi serve --mcp`: the solver as a tool of the Model Context Protocol, over standard input and output.

Its client starts this process and ends it. Needs the extra `mcp`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, cast

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, TextContent
from pydantic import Field

from gsi_node.errors import GSIError
from gsi_node.graph.compiled import CompiledWholeRun
from gsi_node.graph.tool import DESCRIPTION, content_and_artifact
from gsi_node.host.strict_json import finite
from gsi_node.service.chat import summary, without_ids


def tool_server(graph: CompiledWholeRun, name: str = "gsi") -> MCPServer[Any]:
    """A server with one tool, `solve`: the answer and the reasoning as text, the numbers as structured content; each
    step is told as progress. A run ends when its call is cancelled."""
    server: MCPServer[Any] = MCPServer(name)

    async def solve(
        problem: Annotated[str, Field(description="the problem, whole and in words")], ctx: Context[Any, Any]
    ) -> CallToolResult:
        state: dict[str, Any] = {}
        stream = graph.astream({"problem": problem}, stream_mode=["custom", "values"])
        try:
            async with aclosing(cast(AsyncGenerator[Any], stream)) as events:
                async for mode, event in events:
                    if mode == "values":
                        state = event
                    elif "gsi_step" in event:
                        record = event["gsi_step"]
                        await ctx.report_progress(record["index"] + 1, message=record["text"])
        except GSIError as error:
            raise ToolError(f"{type(error).__name__}: {error}") from error
        content, _ = content_and_artifact(state)
        numbers = {**summary(state), "steps": [without_ids(record) for record in state["steps"]]}
        return CallToolResult(
            content=[TextContent(type="text", text=content)],
            structured_content=finite(numbers),
        )

    server.add_tool(solve, description=DESCRIPTION)
    return server
