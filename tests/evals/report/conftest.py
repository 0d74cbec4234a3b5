"""A browser for the tests of the page, started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.evals.report.browser import CHROMIUM, Browser


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium on PATH: `apt-get install chromium` brings one")
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser
