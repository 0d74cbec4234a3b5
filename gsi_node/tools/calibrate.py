"""Fit a calibration to a reward, and keep it."""

from __future__ import annotations

from pathlib import Path

from gsi_node.protocols import Reward
from gsi_node.rewards.wrappers.calibration import beside
from gsi_node.rewards.wrappers.fitting import calibrate


def fitted(reward: Reward, labels: Path, method: str, out: Path | None) -> str:
    """Write the map that `labels` give to `out`, by default beside the reward's model; what was done, in one line."""
    path = out or beside(reward)
    found = calibrate(reward, labels, method)
    found.save(path)
    return f"{found.examples} steps: {found.before:.4f} nats a label before, {found.after:.4f} after; wrote {path}"
