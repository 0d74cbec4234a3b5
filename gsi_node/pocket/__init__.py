"""The tiny models that ship with the package: a draft, a base and a process reward model for pocket math."""

from __future__ import annotations

from pathlib import Path

__all__ = ["NAMES", "path"]

NAMES = ("draft", "base", "reward")


def path(name: str) -> Path:
    """The folder of a shipped model, loadable with `AutoModel….from_pretrained`; ValueError for an unknown name."""
    if name not in NAMES:
        raise ValueError(f"unknown pocket model {name!r}: use one of {', '.join(NAMES)}")
    return Path(__file__).parent / "weights" / name
