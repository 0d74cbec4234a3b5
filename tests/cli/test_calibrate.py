"""The command that fits a calibration: its file, its one line, its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gsi_node.cli.__main__ import main
from gsi_node.cli.calibrate import METHODS
from gsi_node.rewards.verifier.reward import VerifierReward
from gsi_node.rewards.wrappers import calibration
from gsi_node.rewards.wrappers.calibration import CalibratedReward
from tests.rewards.test_calibration import labels


def test_the_command_says_in_one_line_what_is_wrong(tmp_path: Path) -> None:
    good = labels(tmp_path / "l.jsonl", [(0.5, 1), (0.25, 0)])
    (tmp_path / "file").touch()
    cases = [
        (["verifier", str(tmp_path / "none"), "--out", "c.json"], 2, "none cannot be read"),
        (["verifier", str(good)], 2, "has no folder to keep a calibration in"),
        (["no-such-kind", str(good)], 2, "no-such-kind"),
        (["verifier", str(good), "--method", "beta"], 2, "--method"),
        (["verifier", str(good), "--out", str(tmp_path / "file" / "c.json")], 1, "cannot be written: File exists"),
    ]
    script = (
        "import json, sys\nfrom gsi_node.cli.__main__ import main\nfrom gsi_node.host.shell import ending\n"
        "for argv in json.loads(sys.argv[1]):\n"
        "    try:\n        with ending(): sys.exit(main(['calibrate', *argv]))\n"
        "    except SystemExit as stop: sys.stderr.write(f'{stop.code}\\n')"
    )
    argv = [sys.executable, "-c", script, json.dumps([case[0] for case in cases])]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120)
    told = done.stderr.splitlines()
    assert len(told) == 2 * len(cases), done.stderr
    for (_, code, words), line, ended in zip(cases, told[::2], told[1::2], strict=True):
        assert line.startswith("error: ") and words in line
        assert ended == str(code)


def test_the_command_writes_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "l.jsonl"
    rows = [("2 + 2 = 4", 1), ("2 + 2 = 5", 0), ("so", 1), ("thus", 0)]
    lines = (json.dumps({"problem": "p", "steps": [text], "label": label}) for text, label in rows)
    path.write_text("\n".join(lines), "utf-8")
    assert main(["calibrate", "verifier", str(path), "--out", str(tmp_path / "c.json")]) == 0
    assert "4 steps:" in capsys.readouterr().out
    assert CalibratedReward(VerifierReward(), tmp_path / "c.json").calibration.method == "platt"


def test_the_methods_that_the_command_offers_are_those_that_fit() -> None:
    """They stand there as words, so that its --help imports nothing heavy."""
    assert calibration.METHODS == METHODS
