"""LangGraph's own development server over langgraph.json, driven by its HTTP API alone, as Studio does.

`make test-studio` installs it in an environment of its own and names its command in GSI_STUDIO.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.graphs.test_solver import ROOT

COMMAND = os.environ.get("GSI_STUDIO")
PROBLEM = {"problem": "What is 12 * (7 + 5)?"}
QUIET = {"LANGGRAPH_CLI_NO_ANALYTICS": "1", "LANGSMITH_TRACING": "false"}

pytestmark = pytest.mark.skipif(COMMAND is None, reason="GSI_STUDIO names no `langgraph`: make test-studio")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The server, once it answers."""
    port, log = free_port(), tmp_path_factory.mktemp("studio") / "log"
    argv = [str(COMMAND), "dev", "--no-browser", "--no-reload", "--port", str(port)]
    with log.open("w") as told:
        server = subprocess.Popen(argv, cwd=ROOT, env={**os.environ, **QUIET}, stdout=told, stderr=told)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=600) as client:
            _await(client, server, log)
            yield client
    finally:
        server.terminate()
        server.wait(30)


def _await(client: httpx.Client, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(1200):
        assert server.poll() is None, log.read_text("utf-8")
        try:
            if client.get("/ok").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.5)
    raise AssertionError(log.read_text("utf-8"))


def asked(api: httpx.Client, path: str, **content: Any) -> Any:
    answer = api.post(path, json=content) if content else api.get(path)
    assert answer.is_success, answer.text
    return answer.json()


def run(api: httpx.Client, thread: str, graph: str = "gsi", **content: Any) -> Any:
    return asked(api, f"/threads/{thread}/runs/wait", assistant_id=graph, **content)


def test_both_graphs_describe_themselves(api: httpx.Client) -> None:
    assistants = {one["graph_id"]: one["assistant_id"] for one in asked(api, "/assistants/search", limit=10)}
    assert assistants.keys() == {"gsi", "math_solver"}
    drawn = asked(api, f"/assistants/{assistants['gsi']}/graph")
    nodes = {node["id"] for node in drawn["nodes"]}
    assert {"draft", "reward", "score_base", "tilt_and_accept", "fallback", "by_hand"} <= nodes
    for assistant in assistants.values():
        schemas = asked(api, f"/assistants/{assistant}/schemas")
        fields = schemas["context_schema"]["properties"]
        assert {"beta", "threshold", "seed", "fork"} <= fields.keys() and all(f["description"] for f in fields.values())


def test_a_solver_answers(api: httpx.Client) -> None:
    thread = asked(api, "/threads", metadata={})["thread_id"]
    assert run(api, thread, "math_solver", input=PROBLEM)["answer"] == "144"


def test_a_person_stops_a_run_writes_a_step_and_forks_it(api: httpx.Client) -> None:
    thread = asked(api, "/threads", metadata={})["thread_id"]
    options: Any = {"input": PROBLEM, "context": {"threshold": 2.0}, "interrupt_before": ["fallback"]}
    run(api, thread, **options)
    state = asked(api, f"/threads/{thread}/state")
    assert state["next"] == ["fallback"] and state["values"]["gsi_refused"]["tilted_reward"] < 2.0
    written = {"steps": [{"text": "12 * 12 = 144"}]}
    asked(api, f"/threads/{thread}/state", values=written, as_node="by_hand")
    result = run(api, thread, input=None, context={"threshold": 2.0})
    assert [result["steps"][0][key] for key in ("source", "text")] == ["human", "12 * 12 = 144\n\n"]
    assert result["stop_reason"]
    history = asked(api, f"/threads/{thread}/history", limit=100)
    past = [one for one in history if one["next"] == ["draft"] and len(one["values"]["steps"]) == 1]
    fork = {"fork": True, "threshold": -9.0}
    forked = run(api, thread, input=None, checkpoint=past[-1]["checkpoint"], context=fork)
    assert forked["steps"][:1] == result["steps"][:1] and forked["steps"][1]["fork"] == {"threshold": -9.0}
    assert forked["steps"][1]["accepted"] and not result["steps"][1]["accepted"]
