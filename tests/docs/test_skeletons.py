"""Each "Add a …" of docs/architecture.md does what it says, in a copy of the tree, through the commands it names."""

from __future__ import annotations

import json
from pathlib import Path

from tests.docs.skeletons import Copy, section
from tests.evals.synthetic import campaign, write
from tests.miniature import build_miniature

FOLDER = "models/acme-prm-0b"


def test_a_method_is_added_in_one_file(tmp_path: Path) -> None:
    copy, method = Copy(tmp_path), section("method")
    assert len(copy.add(method)) == method.files == 1
    listed, solved = (copy.run(command) for command in method.commands)
    assert "gsi-first" in listed and "the first, whatever its β·r̃" in listed and "r̃ ≥ u" in listed
    assert "gsi-first" in solved


def test_a_setting_is_added_in_one_file(tmp_path: Path) -> None:
    copy, setting = Copy(tmp_path), section("setting")
    assert len(copy.add(setting)) == setting.files == 1
    helped, solved = (copy.run(command) for command in setting.commands[:2])
    assert "--patience" in helped and "steps without an answer that are borne (default 3)" in " ".join(helped.split())
    assert "stopped by max_steps" in solved
    assert "patience" in copy.run(setting.commands[2], code=2)
    context = "from gsi_node import GSIContext; print(GSIContext(patience=7).patience)"
    assert copy.run(["python", "-c", context]).strip() == "7"


def test_a_reward_family_is_added_in_one_file(tmp_path: Path) -> None:
    copy, family = Copy(tmp_path), section("reward family")
    build_miniature(tmp_path / FOLDER, reward=True)
    (command,) = family.commands
    assert len(copy.add(family)) == family.files == 1
    config = f"json.load(open({f'{FOLDER}/config.json'!r}))"
    which = (
        f"import json; from gsi_node.rewards.prm.families import recognise; print(recognise({config}, {FOLDER!r}).name)"
    )
    assert copy.run(["python", "-c", which]).strip() == "acme"
    (step,) = json.loads(copy.run([*command, "--json"]).splitlines()[0])["steps"]
    assert 0.0 < step["reward"] < 1.0


def test_a_plot_is_added_in_one_file(tmp_path: Path) -> None:
    copy, plot = Copy(tmp_path), section("plot")
    write(tmp_path / "runs" / "pocket", campaign(6, ("gsi", "sbon-base"), seeds=(0,)))
    assert len(copy.add(plot)) == plot.files == 1
    (command,) = plot.commands
    printed, report = copy.run(command), tmp_path / "runs" / "pocket" / "report"
    assert "plots/steps.png" in printed and (report / "plots" / "steps.png").stat().st_size > 0
    for page in ("report.md", "report.html"):
        assert "Steps a response" in (report / page).read_text("utf-8")
