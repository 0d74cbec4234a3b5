"""For every test: hypothesis without deadlines, since these machines are shared; and miniature models."""

from __future__ import annotations

import gc
import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.miniature import Miniatures

settings.register_profile("shared", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("shared")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what stands before a `&`; children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """What was imported lives as long as the tests: no collection walks it again (statsmodels asks for one a call)."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def miniatures(tmp_path_factory: pytest.TempPathFactory) -> Miniatures:
    """Folders of miniature models by their settings, each built once a session."""
    from tests.miniature import Miniatures  # torch: only where a test asks for it

    return Miniatures(tmp_path_factory.mktemp("miniatures"))
