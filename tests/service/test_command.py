"""The command line of the service: what is wrong is said in one line, with the exit code that --help names."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

import pytest

from tests.service.running import command, ended, start


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_a_missing_extra_is_named(package: str) -> None:
    code, said = ended("--reward", "verifier", "--port", "0", code=f"import sys; sys.modules[{package!r}] = None")
    assert code == 2
    assert said == f"error: `gsi serve` needs the package {package}: pip install 'gsi-node[serve]'\n"


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
        _, said = process.communicate(timeout=20)
    assert process.returncode == code and said == ("interrupted\n" if code == 130 else "")


def test_an_idle_service_ends_at_once() -> None:
    with command("--reward", "verifier") as service:
        time.sleep(0.2)
        code, seconds = service.end(signal.SIGINT)
    assert code == 130 and seconds < 2.5 and "Traceback" not in service.said
