"""Verdicts as the state keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from gsi_node.step.judging import Commit, Continue, NoDraft, Refuse
from gsi_node.types import Plain

_KINDS: dict[str, type[Commit | Refuse | Continue | NoDraft]] = {
    "commit": Commit,
    "refuse": Refuse,
    "continue": Continue,
    "lost": NoDraft,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def pack_verdict(verdict: Commit | Refuse | Continue | NoDraft) -> Plain:
    """A verdict as a plain dict."""
    return {"kind": _NAMES[type(verdict)], **asdict(verdict)}


def read_verdict(state: Mapping[str, Any]) -> Commit | Refuse | Continue | NoDraft | None:
    """The verdict on the current step; None before there is one."""
    stored = state["gsi_verdict"]
    if stored is None:
        return None
    fields = dict(stored)
    return _KINDS[fields.pop("kind")](**fields)
