"""chat:… as users run it: the solver, killed and gone on with; the node beside a model of another vocabulary; evals;
the doctor; and our own endpoint of a solver, as a chat model of another one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import evals.__main__
from evals.rows.lines import read_rows
from gsi_node import GSIConfig, compile_gsi, load_model, load_reward
from gsi_node.cli.__main__ import main
from gsi_node.errors import LawMismatch
from gsi_node.types import Prefix
from tests.graph.world import environment
from tests.miniature import miniature_tokenizer
from tests.models.serving import Bigram, Server
from tests.service.solvers import chat, solver

Capture = pytest.CaptureFixture[str]
PROBLEM = "What is 3 + 4?"
POINTS = "text in code points"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(Bigram(12, [3])) as running:
        yield running


@pytest.fixture
def specs(server: Server, tmp_path: Path) -> list[str]:
    """Two chat endpoints whose steps are counted differently, and a rule as the reward; no torch is loaded."""
    miniature_tokenizer().save_pretrained(tmp_path / "tokenizer")
    draft = f"chat:{server.url}/v1#bigram"
    return ["--draft", draft, "--base", f"{draft}?tokenizer={tmp_path / 'tokenizer'}", "--reward", "verifier"]


RSD = ["--method", "rsd-n", "--n", "2", "--set", "delta=0.9", "--max-steps", "6"]


def solved(argv: list[str], capsys: Capture) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert main(["solve", *argv, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_solver_killed_goes_on_where_it_was(
    server: Server, specs: list[str], tmp_path: Path, capsys: Capture
) -> None:
    argv = [*specs, *RSD, PROBLEM]
    (wanted,) = solved(argv, capsys)
    assert {step["source"] for step in wanted["steps"]} == {"draft", "base"} and wanted["stop_reason"] == "eos"
    whose = {step["source"]: step["vocabulary"] for step in wanted["steps"]}
    assert whose["draft"] == POINTS and whose["base"].startswith("text in ") and whose["base"] != POINTS
    assert all(step["log_prob_draft"] is step["log_prob_base"] is None for step in wanted["steps"])
    assert wanted["usage"]["draft"]["generated_tokens"] > 0 == wanted["usage"]["base"]["scored_tokens"]
    command = ["solve", *argv, "--checkpoint", str(tmp_path / "run.sqlite"), "--json"]
    server.streaming.pause, before = 0.02, server.requests
    process = subprocess.Popen(
        [sys.executable, "-m", "gsi_node.cli", *command],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    limit = time.monotonic() + 120
    while not any(body["messages"][-1]["content"].count("Step") > 1 for body in server.bodies[before:]):
        assert process.poll() is None and time.monotonic() < limit, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    server.streaming.pause, begun = 0.0, len(server.bodies)
    (found,) = solved(argv + command[-3:-1], capsys)
    assert found["steps"] == wanted["steps"] and found["answer"] == wanted["answer"]
    asked = [body["messages"][-1] for body in server.bodies[begun:] if body["messages"][0]["content"] == PROBLEM]
    assert asked and all(turn["role"] == "assistant" for turn in asked)  # nothing is begun anew


def test_the_node_beside_a_model_with_ids_of_its_own(server: Server) -> None:
    base, reward = load_model("pocket:base"), load_reward("verifier")
    config = GSIConfig(method="rsd-n", n=2, delta=0.9, max_steps=5, record="candidates")
    for server.streaming.on in (True, False):
        draft = load_model(f"chat:{server.url}/v1#bigram")
        result = compile_gsi(draft=draft, base=base, reward=reward, config=config).invoke({"problem": PROBLEM})
        written = [step for step in result["steps"] if step["source"] == "base"]
        assert written and {step["vocabulary"] for step in written} == {base.vocabulary}
        assert {step["rejected"]["vocabulary"] for step in written} == {POINTS}
        for step in result["steps"]:  # the ids of each say its text, in the vocabulary that it names
            model: Any = base if step["vocabulary"] == base.vocabulary else draft
            assert model.step_of(Prefix(""), step["token_ids"], 0.0).text == step["text"]


def test_evals_make_rows_of_it(specs: list[str], tmp_path: Path, capsys: Capture) -> None:
    data = tmp_path / "problems.jsonl"
    data.write_text(json.dumps({"id": "p", "problem": PROBLEM, "answer": "7"}) + "\n")
    argv = ["run", "--data", str(data), "--out", str(tmp_path / "run"), *specs, "--methods", "rsd-n", "--n", "1,2"]
    assert evals.__main__.main([*argv, "--set", "delta=0.9"]) == 0
    rows = read_rows(tmp_path / "run")
    assert len(rows) == 2 and all(row.error is None and row.response for row in rows)
    steps = [step for row in rows for step in row.model_dump()["steps"]]
    assert all(step["n_tokens"] > 0 and step["vocabulary"].startswith("text in ") for step in steps)


def test_the_doctor_says_what_it_is(server: Server, specs: list[str], capsys: Capture) -> None:
    server.seeded = False
    main(["doctor", *specs, "--set", "method=rsd-n", "--set", "n=2", "--set", "max_steps=6"])
    told = capsys.readouterr().out
    assert "draft and base differ, and steps travel as text" in told and "seeds are NOT honoured" in told
    assert "draft noise  not measured: it tells no log-probabilities of given steps" in told


def test_it_is_refused_with_the_methods_that_take_it(specs: list[str]) -> None:
    said = (
        "tells no log-probabilities of given steps. Methods that ask for no log-probabilities: rsd, rsd-n, sbon-draft"
    )
    with pytest.raises(LawMismatch, match=said):
        main(["solve", *specs, PROBLEM])


def test_a_solver_of_chat_models_behind_our_endpoint_and_that_endpoint_as_a_chat_model(server: Server) -> None:
    spec = f"chat:{server.url}/v1#bigram"
    reward = load_reward("verifier")
    parts: dict[str, Any] = {"draft": load_model(spec), "base": load_model(spec), "reward": reward}
    with solver(parts=parts, method="rsd-n", n=2, max_steps=6, temperature=0.7) as url:
        alone = compile_gsi(**parts, config=GSIConfig(method="rsd-n", n=2, beta=4.0, max_steps=6))
        wanted = alone.invoke({"problem": "p"})["response"]
        assert chat(url).json()["choices"][0]["message"]["content"] == wanted
        outer = load_model(f"chat:{url}/v1#gsi?prefill=none")
        config = GSIConfig(method="bon-draft", n=2, step_end="tokens:400", max_steps=1)
        result = compile_gsi(draft=outer, base=None, reward=reward, config=config).invoke({"problem": "p"})
    assert result["stop_reason"] == "eos" and "boxed" in result["response"] and result["response"].count("Step") == 3
