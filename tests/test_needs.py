"""What errors advise to install is right for the way in which the package itself was installed."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest

from gsi_node import needs
from gsi_node.needs import install, install_extra

ROOT = Path(__file__).resolve().parents[1]
WHEEL = "file:///downloads/gsi_node-0.1.0-py3-none-any.whl"


def remembered(folder: Path, origin: dict[str, object] | None) -> None:
    """An environment's record of the package, as pip and uv write it."""
    record = folder / "gsi_node-0.1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.4\nName: gsi-node\nVersion: 0.1.0\n", "utf-8")
    if origin is not None:
        (record / "direct_url.json").write_text(json.dumps(origin), "utf-8")


@pytest.mark.parametrize(
    ("origin", "asked"),
    [
        ({"url": "file:///my%20clones/gsi", "dir_info": {"editable": True}}, ["-e", "/my clones/gsi[ray]"]),
        ({"url": "file:///gsi", "dir_info": {}}, ["/gsi[ray]"]),
        ({"url": WHEEL, "archive_info": {}}, [f"gsi-node[ray] @ {WHEEL}"]),
        (
            {"url": "https://host/gsi.git", "vcs_info": {"vcs": "git", "commit_id": "d9f3aab"}},
            ["gsi-node[ray] @ git+https://host/gsi.git@d9f3aab"],
        ),
        (None, ["gsi-node[ray]"]),
    ],
)
def test_an_extra_is_asked_of_where_the_package_came_from(
    origin: dict[str, object] | None, asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered(tmp_path, origin)
    monkeypatch.syspath_prepend(tmp_path)
    words = shlex.split(install_extra("ray"))
    assert words[words.index("install") + 1 :] == asked


def test_what_is_not_installed_is_a_clone_that_is_imported_from_where_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])  # nothing remembers the package there
    assert shlex.split(install_extra("jko"))[-2:] == ["-e", f"{ROOT}[jko]"]
    monkeypatch.setattr(needs, "__file__", str(tmp_path / "gsi_node" / "needs.py"))
    assert shlex.split(install_extra("jko"))[-1] == "gsi-node[jko]"


def test_the_installer_is_that_of_this_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pip").touch(0o755)
    python = str(tmp_path / "python")
    monkeypatch.setattr(sys, "executable", python)
    monkeypatch.setenv("PATH", str(tmp_path))  # an environment that is activated
    assert install("torch") == "pip install torch"
    monkeypatch.setenv("PATH", str(tmp_path / "elsewhere"))
    assert install("torch") == f"{python} -m pip install torch"
    monkeypatch.setattr(needs, "find_spec", lambda name: None)
    assert install("torch") == f"uv pip install --python {python} torch"


def test_no_message_writes_the_command_by_itself() -> None:
    rooms = (path for room in ("gsi_node", "evals", "graphs") for path in (ROOT / room).rglob("*.py"))
    assert [path.name for path in rooms if "pip install" in path.read_text("utf-8")] == ["needs.py"]
