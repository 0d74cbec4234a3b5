"""Each "Add a …" of docs/architecture.md does what it says, in a copy of the tree, through the commands it names."""

from __future__ import annotations

from pathlib import Path

from tests.docs.skeletons import Copy, section


def test_a_method_is_added_in_one_file(tmp_path: Path) -> None:
    copy, method = Copy(tmp_path), section("method")
    assert "gsi-first" not in copy.run(method.commands[0])
    assert len(copy.add(method)) == method.files == 1
    listed, solved = (copy.run(command) for command in method.commands)
    assert "gsi-first" in listed and "the first, whatever its β·r̃" in listed and "r̃ ≥ u" in listed
    assert "gsi-first" in solved


def test_a_setting_is_added_in_one_file(tmp_path: Path) -> None:
    copy, setting = Copy(tmp_path), section("setting")
    assert len(copy.add(setting)) == setting.files == 1
    assert "stopped by max_steps" in copy.run(setting.commands[0])
    assert "patience" in copy.run(setting.commands[1], code=2)
    context = "from gsi_node import GSIContext; print(GSIContext(patience=7).patience)"
    assert copy.run(["python", "-c", context]).strip() == "7"
