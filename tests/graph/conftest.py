"""Models that several files of these tests run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.graph.thinkers import build_pairs


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders of the pairs that think."""
    return build_pairs(tmp_path_factory.mktemp("thinkers"))
