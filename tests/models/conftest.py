"""Miniature models for the tests of this folder, each built once a session."""

from __future__ import annotations

import pytest

from tests.miniature import Miniatures


@pytest.fixture(scope="session")
def miniatures(tmp_path_factory: pytest.TempPathFactory) -> Miniatures:
    """Folders of miniature models by their settings."""
    return Miniatures(tmp_path_factory.mktemp("miniatures"))
