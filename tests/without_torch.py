"""python -m tests.without_torch FILE ARGUMENTS…: run a program as if torch were not installed.

Nothing finds torch, nor what is built on it: no import, no find_spec, no importlib.metadata.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, DistributionFinder
from typing import Any

HIDDEN = ("torch", "torchdiffeq", "accelerate")


class Without:
    """A finder of modules and distributions without those of HIDDEN."""

    def __init__(self, finder: Any) -> None:
        self._finder = finder

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """The module's spec; None for a hidden one, which is then not found."""
        return None if name.partition(".")[0] in HIDDEN else self._finder.find_spec(name, path, target)

    def find_distributions(self, context: DistributionFinder.Context) -> Iterator[Distribution]:
        """What is installed."""
        found = getattr(self._finder, "find_distributions", lambda context: ())(context)
        return (each for each in found if each.metadata["Name"] not in HIDDEN)


def hide() -> None:
    """From now on, in this process."""
    sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]


if __name__ == "__main__":
    hide()
    sys.argv[:] = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
