"""Waiting for a process that was told to end: not for ever, and a test that waits in vain shows what it printed."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest


def told(process: subprocess.Popen[str], seconds: float = 60.0) -> tuple[str, str]:
    """What it printed until its end, on its two streams ("" for one that is no pipe). Fails where it goes on."""
    out: Any
    errors: Any
    try:
        out, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        try:
            out, errors = process.communicate(timeout=5.0)
        except subprocess.TimeoutExpired as held:  # by a child of its own, which has its pipes
            out, errors = held.stdout, held.stderr
        pytest.fail(f"still running after {seconds:g} s; it printed {out!r}, {errors!r}")
    return out or "", errors or ""
