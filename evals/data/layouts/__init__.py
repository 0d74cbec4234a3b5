"""The sets known by name, one small file each."""

from __future__ import annotations

from evals.data.layouts import (
    gsm8k,
    math500,
    minerva_math,
    mmlu_stem,
    olympiadbench,
)
from evals.data.layouts.base import Layout

_KNOWN = (
    math500,
    olympiadbench,
    minerva_math,
    mmlu_stem,
    gsm8k,
)
LAYOUTS: dict[str, Layout] = {module.LAYOUT.name: module.LAYOUT for module in _KNOWN}
