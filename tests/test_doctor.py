"""gsi_node.doctor: what it prints where all is well, and what it tells to change."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from gsi_node import doctor
from tests.graph import world
from tests.miniature import miniature_tokenizer
from tests.models.serving import MODEL, Bigram, Server


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
        code = doctor.main(["--draft", spec, "--base", spec, "--reward", "verifier", "--problem", "1+2", *settings])
    text = capsys.readouterr().out
    assert code == 1  # a random model answers nothing
    for words in ("seeds are honoured", "sampled log-probabilities are raw", "draft noise", "got no answer"):
        assert words in text
    assert "FAILED" not in text


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    spec = "server:http://127.0.0.1:9/v1#m?attempts=1"
    assert doctor.main(["--draft", spec, "--base", spec, "--reward", "verifier"]) == 1
    text = capsys.readouterr().out
    assert "draft        FAILED (BackendUnavailable)" in text and "Start the server" in text


def test_a_wrong_setting_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main(["--set", "n=0"]) == 2
    assert "error: n:" in capsys.readouterr().err
