"""`gsi doctor`: what it prints where all is well, and what it tells to change."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from gsi_node.cli.__main__ import main
from gsi_node.tools import doctor
from gsi_node.types import Thinking
from tests import waiting
from tests.graph import world
from tests.miniature import miniature_tokenizer
from tests.models.serving import MODEL, Bigram, Server

ROOT = Path(__file__).resolve().parents[2]


def examine(monkeypatch: pytest.MonkeyPatch, parts: dict[str, Any], **fields: Any) -> tuple[bool, str]:
    monkeypatch.setattr(doctor, "load_model", parts.__getitem__)
    monkeypatch.setattr(doctor, "load_reward", parts.__getitem__)
    out = StringIO()
    return doctor.Doctor(world.config(**fields), "p", out).examine("draft", "base", "reward"), out.getvalue()


def test_all_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    well, text = examine(monkeypatch, world.models())
    assert well and "all is well" in text
    assert "draft and base share one" in text
    assert "base noise   mean |ℓ| 0.0e+00 nats a step with itself" in text
    assert "'p': 6 steps" in text and "acceptance rate" in text


def test_what_must_change_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = world.models()
    parts["base"].vocabulary = "another"
    well, text = examine(monkeypatch, parts)
    assert not well
    assert "draft and base DIFFER" in text
    assert "VocabularyMismatch" in text and "  - one problem: draft and base have different vocabularies" in text


def test_a_server_is_examined_with_the_probe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    miniature_tokenizer().save_pretrained(tmp_path)
    with Server(Bigram(len(miniature_tokenizer()), (6, 7, 8)), folder=str(tmp_path)) as server:
        spec = f"server:{server.url}/v1#{MODEL}?attempts=2"
        settings = [
            "--set",
            "max_steps=2",
            "--set",
            "max_step_tokens=8",
            "--set",
            "n=2",
            "--set",
            "max_log_ratio_error=50",
        ]
        code = main(["doctor", "--draft", spec, "--base", spec, "--reward", "verifier", "--problem", "1+2", *settings])
    text = capsys.readouterr().out
    assert code == 1  # a random model answers nothing
    for words in ("seeds are honoured", "sampled log-probabilities are raw", "draft noise", "got no answer"):
        assert words in text
    assert "FAILED" not in text


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    spec = "server:http://127.0.0.1:9/v1#m?attempts=1"
    assert main(["doctor", "--draft", spec, "--base", spec, "--reward", "verifier"]) == 2
    text = capsys.readouterr().out
    assert "draft        FAILED (BackendUnavailable)" in text and "Start the server" in text


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gsi_node.cli", "doctor", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", timeout=120)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--set", "n=0"), "error: n: "),
        (("--set", "n"), "want field=value"),
        (("--set", "m=3"), "no field 'm'"),
        (("--set", "method=best"), "error: method: unknown 'best'"),
        (("--set", "n=" + "9" * 5000), "error: n: "),
        (("--nothing",), "--nothing"),
    ],
)
def test_a_wrong_call_is_one_line(arguments: tuple[str, ...], words: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ") and words in done.stderr


def test_what_cannot_be_loaded_is_said_with_what_to_change(tmp_path: Path) -> None:
    """A folder with a name that a terminal would obey, a reward that nothing knows."""
    done = run("--draft", f"hf:{tmp_path}/\x1b[31mred", "--base", "pocket:base", "--reward", "none")
    assert done.returncode == 2 and done.stderr == ""
    assert (
        "draft        FAILED (BackendUnavailable)" in done.stdout and "reward       FAILED (SpecError)" in done.stdout
    )
    assert "\\x1b[31mred does not exist" in done.stdout and "\x1b" not in done.stdout


def test_ctrl_c_is_one_line() -> None:
    """While it waits for a server that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60.0)
        spec = f"remote:http://127.0.0.1:{silent.getsockname()[1]}"
        command = [sys.executable, "-m", "gsi_node.cli", "doctor", "--draft", spec]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            connection, _ = silent.accept()
            process.send_signal(signal.SIGINT)
            _, said = waiting.told(process, 30.0)
            connection.close()
    assert process.returncode == 130 and said == "interrupted\n"


def test_a_fault_of_the_machine_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = world.models()

    def out_of_memory(*arguments: Any) -> Any:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(parts["base"], "sample", out_of_memory)
    well, text = examine(monkeypatch, parts)
    assert not well and "base noise: CUDA out of memory" in text


def test_the_budgets_of_models_that_think(monkeypatch: pytest.MonkeyPatch) -> None:
    def thinking(**fields: Any) -> tuple[bool, str]:
        parts = world.models()
        for role in ("draft", "base"):
            parts[role].thinking = Thinking(1, 2, False, (2,))
        return examine(monkeypatch, parts, **fields)

    well, text = thinking()
    assert not well and "thinking     before an answer about 172 paragraphs, 8,000 to 32,000 tokens" in text
    assert "temperature 0.6, here it is 0.7" in text
    assert "  - budgets: max_steps 64 and max_tokens 4096 end most runs within the thinking: set max_steps" in text
    for fields in ({"max_steps": 172}, {"max_tokens": 8192}, {"max_thinking_tokens": 4096}):
        assert not thinking(**fields)[0]
    for enough in ({"max_steps": 172, "max_tokens": 8192}, {"max_thinking_tokens": 4095}):
        well, text = thinking(**enough)
        assert well and "thinking     before" in text
    assert "thinking" not in examine(monkeypatch, world.models())[1]
