"""The command line of the service: what is wrong is said in one line, with the exit code that --help names."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from gsi_node.graph.build import compile_gsi
from gsi_node.needs import install_extra
from gsi_node.specs.load import load_model, load_reward
from gsi_node.step.config import GSIConfig
from tests import waiting
from tests.graphs.tables import Table, models
from tests.service.running import command, ended, start
from tests.service.solvers import client


@pytest.mark.parametrize(
    ("package", "what"), [("starlette", "--reward"), ("uvicorn", "--reward"), ("starlette", "--openai")]
)
def test_a_missing_extra_is_named(package: str, what: str) -> None:
    given = ("--openai",) if what == "--openai" else ("--reward", "verifier")
    code, said = ended(*given, "--port", "0", code=f"import sys; sys.modules[{package!r}] = None")
    assert code == 2
    assert said == f"error: `gsi serve` needs the package {package}: {install_extra('serve')}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--reward", "verifier", "--port", "65536"), 2, "65536"),
        (("--reward", "verifier", "--port", "9" * 5000), 2, "no port"),
        (("--reward", "verifier", "--port", "-1"), 2, "no port"),
        (("--reward", "verifier", "--port", "0", "--client-timeout", "nan"), 2, "no number of seconds"),
        (("--reward", "verifier", "--port", "0", "--client-timeout", "0"), 2, "no number of seconds"),
        (("--reward", "verifier", "--port", "0", "--host", "no such host"), 2, "cannot listen on no such host"),
        (("--reward", "verifier", "--port", "0", "--host", "a" * 99), 2, "cannot listen on"),
        (("--reward", "verifier", "--port", "0", "--allowed-host", "http://a"), 2, "no host name"),
        (("--reward", "verifier", "--port", "0", "--allowed-host", "a:80"), 2, "no host name"),
        (("--reward", "nothing", "--port", "0"), 2, "kind 'nothing' is unknown"),
        (("--model", "remote:http://127.0.0.1:9?attempts=1", "--port", "0"), 2, "127.0.0.1:9"),
        (("--port", "0"), 2, "--model"),
        (("--model", "a", "--reward", "b", "--port", "0"), 2, "start two"),
        (("--model", "a", "--openai", "--port", "0"), 2, "not allowed with"),
        (("--model", "a", "--draft", "b", "--port", "0"), 2, "--draft is of a solver"),
        (("--reward", "a", "--max-running", "2", "--port", "0"), 2, "--max-running is of a solver"),
        (("--reward", "a", "--set", "n=2", "--port", "0"), 2, "--set is of a solver"),
        (("--openai", "--draft", "", "--port", "0"), 2, "spec"),
        (("--openai", "--n", "0", "--port", "0"), 2, "n: input should be greater"),
        (("--openai", "--config", "nowhere.toml", "--port", "0"), 2, "--config nowhere.toml"),
        (("--openai", "--name", "\n", "--port", "0"), 2, "--name: want printable text"),
        (("--openai", "--max-running", "0", "--port", "0"), 2, "want an integer"),
    ],
)
def test_what_is_wrong_with_a_call_is_said(arguments: tuple[str, ...], code: int, words: str) -> None:
    found, said = ended(*arguments)
    assert found == code and words in said and "Traceback" not in said


def test_a_port_in_use_is_said_before_anything_is_loaded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, said = ended("--model", "hf:/nowhere", "--port", str(port))
    assert code == 2 and said.startswith(f"error: cannot listen on 127.0.0.1 port {port}:") and said.count("\n") == 1


def test_the_page_says_the_code_that_ends_it() -> None:
    page = " ".join((Path(__file__).resolve().parents[2] / "docs" / "servers.md").read_text("utf-8").split())
    assert "A model that cannot be loaded or reached, a wrong call or a port in use ends it with 2." in page


@pytest.mark.parametrize(("with_signal", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_while_loading_leaves_no_traceback(with_signal: int, code: int) -> None:
    loading = (
        "import time, gsi_node.specs.load as load; load.load_reward = lambda spec: (print(flush=True), time.sleep(60))"
    )
    with start("--reward", "verifier", "--port", "0", code=loading) as process:
        assert process.stdout is not None and process.stdout.readline() == "\n"
        process.send_signal(with_signal)
        _, said = waiting.told(process, 20.0)
    assert process.returncode == code and said == ("interrupted\n" if code == 130 else "")


def test_an_idle_service_ends_at_once() -> None:
    with command("--reward", "verifier") as service:
        time.sleep(0.2)
        code, seconds = service.end(signal.SIGINT)
    assert code == 130 and seconds < 2.5 and "Traceback" not in service.said


def test_a_solver_by_its_command(tmp_path: Path) -> None:
    """Specs, a config file and options make the solver that `gsi solve` would; each request is a line of the log."""
    config = tmp_path / "solver.toml"
    config.write_text("n = 3\nmax_steps = 4\n", "utf-8")
    problem = "What is 12 * (7 + 5)?"
    given = ("--reward", "verifier", "--config", str(config), "--seed", "3")
    with command("--openai", *given, "--name", "pocket-solver", key="sesame") as service:
        with client(service.url, api_key="sesame") as asking:
            (model,) = asking.models.list()
            found: Any = asking.chat.completions.create(model=model.id, messages=[{"role": "user", "content": problem}])
        code, seconds = service.end(signal.SIGTERM)
    parts: dict[str, Any] = {"draft": load_model("pocket:draft"), "base": load_model("pocket:base")}
    graph = compile_gsi(**parts, reward=load_reward("verifier"), config=GSIConfig(n=3, max_steps=4, seed=3))
    wanted = graph.invoke({"problem": problem})
    assert model.id == "pocket-solver" and found.choices[0].message.content == wanted["response"]
    assert len(found.choices[0].gsi["steps"]) == len(wanted["steps"]) and "Traceback" not in service.said
    listening, *asked = service.said.splitlines()
    assert listening.startswith("serving pocket-solver, listening on http://127.0.0.1:")
    assert [line.rpartition(" - ")[2] for line in asked] == [
        '"GET /v1/models HTTP/1.1" 200',
        '"POST /v1/chat/completions HTTP/1.1" 200',
    ]
    assert (code, seconds < 5.0) == (143, True)


TABLES = """
from tests.graphs.tables import Table, models
import gsi_node.specs.load as load
made = {"hf:/a": Table(0.4, "a"), "hf:/b": Table(0.7, "b"), "hf:/base": Table(0.8, "base")}
load.load_model, load.load_reward = made.__getitem__, lambda spec: models()["reward"]
"""


def test_a_solver_of_two_drafts_by_its_command() -> None:
    """`--draft A*2 --draft B*1`: the node's answer with both, each with its bill; and what cannot be ends it with 2."""
    parts_given = ("--openai", "--draft", "hf:/a*2", "--draft", "hf:/b*1", "--base", "hf:/base", "--reward", "verifier")
    given = (*parts_given, "--n", "3", "--beta", "4", "--threshold", "0.6", "--set", "record=candidates")
    with command(*given, code=TABLES) as service, client(service.url) as asking:
        asked: Any = [{"role": "user", "content": "two"}]
        found: Any = asking.chat.completions.create(model="gsi", messages=asked)
    named: dict[str, Any] = {name: Table(good, name) for name, good in (("a", 0.4), ("b", 0.7), ("base", 0.8))}
    parts: dict[str, Any] = {"draft": [(named["a"], 2), (named["b"], 1)], "base": named["base"], **reward()}
    wanted = compile_gsi(**parts, config=GSIConfig(n=3, beta=4.0, threshold=0.6)).invoke({"problem": "two"})
    (choice,) = found.choices
    assert choice.message.content == wanted["response"]
    assert set(choice.gsi["usage"]) == {"draft/0", "draft/1", "base", "reward"}
    batches = [step.get("rejected") or step for step in choice.gsi["steps"]]
    assert all([one["draft"] for one in batch["candidates"]] == [0, 0, 1] for batch in batches)
    code, said = ended(*given, "--n", "1", "--port", "0", code=TABLES)
    assert code == 2 and "n: want at least 2, one candidate a draft, got 1" in said and "Traceback" not in said


def reward() -> dict[str, Any]:
    return {"reward": models()["reward"]}


def test_no_line_a_request_where_none_is_wanted() -> None:
    with command("--reward", "verifier", "--no-access-log") as service:
        assert httpx.get(f"{service.url}/health", trust_env=False).status_code == 200
        service.end(signal.SIGTERM)
    assert service.said.count("\n") == 1
