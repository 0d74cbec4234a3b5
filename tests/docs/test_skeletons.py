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


def test_a_backend_is_added_in_two_files(tmp_path: Path) -> None:
    copy, backend = Copy(tmp_path), section("backend")
    assert len(copy.add(backend)) == backend.files == 2
    solve, check = backend.commands
    assert "3 + 4 = 7" in copy.run(solve)
    assert copy.run(check) == ""
    model = tmp_path / "gsi_node" / "models" / "acme.py"
    model.write_text(model.read_text("utf-8").replace("[Score(self", "[Score(0.01 + self"), "utf-8")
    assert "ContractBroken" in copy.run(check, code=1)


def test_a_data_set_is_added_in_two_files(tmp_path: Path) -> None:
    copy, data = Copy(tmp_path), section("data set")
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "acme.jsonl").write_text('{"question": "Compute 37 + 48.", "number": 85}\n', "utf-8")
    assert len(copy.add(data)) == data.files == 2
    (command,) = data.commands
    assert "1 rows" in copy.run(command)
    (row,) = (tmp_path / "runs" / "acme" / "results.jsonl").read_text("utf-8").splitlines()
    assert '"problem": "Compute 37 + 48."' in row and '"gold": "85"' in row
