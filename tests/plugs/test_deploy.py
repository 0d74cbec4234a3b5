"""deploy/ against the published schemas of compose and Kubernetes, which their validators bring along."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
BIN = Path(sys.executable).parent

if find_spec("check_jsonschema") is None or find_spec("kubernetes_validate") is None:
    pytest.skip("check-jsonschema and kubernetes-validate are not installed: make test-plugs", allow_module_level=True)


def compose(file: Path) -> int:
    argv = [str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(argv, capture_output=True, check=False).returncode


def cluster(file: Path) -> int:
    argv = [str(BIN / "kubernetes-validate"), "--strict", str(file)]
    return subprocess.run(argv, capture_output=True, check=False).returncode


def test_the_compose_file_is_one(tmp_path: Path) -> None:
    text = (DEPLOY / "compose.yaml").read_text("utf-8")
    (tmp_path / "wrong.yaml").write_text(text.replace("healthcheck:", "health_check:"), "utf-8")
    assert (compose(DEPLOY / "compose.yaml"), compose(tmp_path / "wrong.yaml")) == (0, 1)


def test_the_manifests_are_such(tmp_path: Path) -> None:
    text = (DEPLOY / "kubernetes.yaml").read_text("utf-8")
    (tmp_path / "wrong.yaml").write_text(text.replace("volumeMounts", "volumeMount"), "utf-8")
    assert (cluster(DEPLOY / "kubernetes.yaml"), cluster(tmp_path / "wrong.yaml") != 0) == (0, True)
