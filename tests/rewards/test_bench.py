"""The benchmark runs and prints its numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from gsi_node.cli.__main__ import main
from gsi_node.errors import SpecError
from tests.miniature import build_miniature


def test_the_benchmark(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.miniature.CONTEXT", 4096)
    monkeypatch.setenv("COLUMNS", "120")
    folder = build_miniature(tmp_path / "prm", reward=True)
    assert main(["bench", "--rewards", "--reward", f"prm:{folder}", "--n", "2", "--repeats", "1"]) == 0
    printed = capsys.readouterr().out
    assert "from scratch" in printed and "30 to 5" in printed
    with pytest.raises(SpecError, match="only a model in process"):
        main(["bench", "--rewards", "--reward", "verifier"])
