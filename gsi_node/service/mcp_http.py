"""`gsi serve --mcp --port`: the tool over streamable HTTP, at /mcp, for clients that did not start this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gsi_node.errors import BackendUnavailable
from gsi_node.graph.compiled import CompiledWholeRun
from gsi_node.service.answers import Probed
from gsi_node.service.base import MAX_BODY, Service, timed
from gsi_node.service.door import Door
from gsi_node.service.mcp_tool import tool_server
from gsi_node.service.meters import RunMeters
from gsi_node.service.operation import JSON, Operation
from gsi_node.service.places import Places

ROUTE = "/mcp"


class ToolService(Service):
    """name: the server's. names: of the models, whose folders are not told. max_running: runs at a time; max_waiting:
    further calls, which wait for one to end; any more are errors of the call."""

    def __init__(
        self,
        graph: CompiledWholeRun,
        *,
        name: str,
        names: Iterable[str],
        door: Door,
        max_running: int = 16,
        max_waiting: int = 64,
        patience: float = 30.0,
    ) -> None:
        self._places = Places(max_running)
        meters = RunMeters(name, lambda: self.waiting, lambda: self._places.taken)
        tool = tool_server(graph, name, within=self._place, bill=meters.run)
        hosts_are_checked = TransportSecuritySettings(enable_dns_rebinding_protection=False)  # by the door
        super().__init__(
            [Operation("GET", "/health", "how many calls are under way", self._health, {JSON: Probed})],
            meters=meters,
            door=door,
            names=names,
            most=max_running + max_waiting,
            patience=patience,
            inside=tool.streamable_http_app(
                streamable_http_path=ROUTE, transport_security=hosts_are_checked, max_request_body_size=MAX_BODY
            ),
        )

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """One of the runs at a time, until the service's time is over."""
        with self.admitted() as refusal:
            if refusal is not None:
                raise BackendUnavailable("the service is ending, or has too many calls waiting: call again later")
            async with timed(self.works, None), self._places.one():
                yield

    async def _health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok", "waiting": self.waiting})
