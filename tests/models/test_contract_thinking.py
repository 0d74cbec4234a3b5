"""The contract under the law of models that think: an end counts behind a byte that is no blank."""

from __future__ import annotations

from pathlib import Path

import pytest

from gsi_node import load_model
from gsi_node.testing import check_step_model
from gsi_node.types import Ends, SamplingLaw
from tests.thinker import build_thinker


@pytest.mark.parametrize("opened", ["itself", "prompt"])
@pytest.mark.parametrize("end", ["\n\n", "\n"])
def test_a_model_that_thinks_keeps_the_contract(tmp_path: Path, opened: str, end: str) -> None:
    build_thinker(tmp_path / "thinker", opened=opened)
    spec = f"hf:{tmp_path / 'thinker'}?dtype=float64"
    law = SamplingLaw(max_step_tokens=24, ends=Ends((end,), after_text=True))
    check_step_model(lambda: load_model(spec), law=law, problem="1+1", eos=load_model(spec).eos_ids[0])
