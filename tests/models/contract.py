"""The backends of this package under gsi_node.testing; test_contract.py runs the checks, mutants must fail them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from gsi_node.protocols import StepModel
from gsi_node.specs.load import load_model
from gsi_node.step.speculate import SpeculativeModel
from gsi_node.tables.models import EOS_ID, TableModel
from gsi_node.testing.models import KEY, LAW, Subject
from gsi_node.types import Ends, Prefix, SamplingLaw
from tests.miniature import Miniatures
from tests.token_world import tables

HOT = SamplingLaw(temperature=2.0, max_step_tokens=24)  # the shipped models are sure of themselves


__all__ = ["BACKENDS", "CUDA", "KEY", "LAW", "RULED", "Backend"]
GPU = [("llama", "float32", 2e-3), ("qwen2", "float64", 1e-9), ("gpt2", "float64", 1e-9)]


@dataclass(frozen=True)
class Backend:
    """One backend under contract. make: a new, cold model. tolerance: nats a token. cuts: obeys max_step_tokens."""

    name: str
    make: Callable[[Miniatures], StepModel]
    tolerance: float
    law: SamplingLaw = LAW
    eos: int = 3
    cuts: bool = True

    def subject(self, miniatures: Miniatures) -> Subject:
        """What gsi_node.testing checks."""
        return Subject(partial(self.make, miniatures), self.tolerance, self.law, eos=self.eos, cuts=self.cuts)


def _miniature(architecture: str, dtype: str, tolerance: float, law: SamplingLaw = LAW) -> Backend:
    return Backend(
        f"{architecture}-{dtype}" + ("-nucleus" if law.top_p < 1 else ""),
        lambda miniatures: miniatures.language(architecture=architecture, dtype=dtype),
        tolerance,
        law,
    )


def _table(prefix: Prefix) -> dict[str, float]:
    if len(prefix.steps) > 1:
        return {"done": 0.75, "more\n\n": 0.25}
    return {"a\n\n": 0.5, "b\n\n": 0.25, "ab\n\n": 0.125, "end": 0.125}


BACKENDS = [
    _miniature("llama", "float64", 1e-9),
    _miniature("llama", "float32", 1e-4),
    _miniature("llama", "float64", 1e-9, SamplingLaw(temperature=1.3, top_p=0.8, max_step_tokens=16)),
    _miniature("qwen2", "float64", 1e-9),
    _miniature("gpt2", "float64", 1e-9),
    _miniature("gpt2", "float32", 1e-4),
    _miniature("mistral", "float64", 1e-9),
    _miniature("gemma2", "float64", 1e-9),
    _miniature("gemma3", "float64", 1e-9),
    _miniature("gemma3", "float32", 1e-4),
    Backend("pocket-draft", lambda _: load_model("pocket:draft"), 1e-4, HOT),
    Backend("pocket-base", lambda _: load_model("pocket:base"), 1e-4, HOT),
    Backend("table", lambda _: TableModel(_table), 1e-6, eos=EOS_ID, cuts=False),
]


RULES: dict[str, Callable[[SamplingLaw], SamplingLaw]] = {
    "paragraph": lambda law: law,
    "line": lambda law: replace(law, ends=Ends(("\n",), after_text=True)),
    "tokens:3": lambda law: replace(law, ends=Ends(()), max_step_tokens=3),
    "list": lambda law: replace(law, ends=Ends(("b", ".\n\na"))),
}


def _ruled(backend: Backend, rule: str) -> Backend:
    return replace(backend, name=f"{backend.name}-{rule}", law=RULES[rule](backend.law))


DRAFTED = Backend("drafted", lambda _: SpeculativeModel(*tables()), 1e-9)
LINES = Backend("table", lambda _: TableModel({"\na\n": 0.5, "b\n": 0.25, "c": 0.25}), 1e-6, eos=EOS_ID, cuts=False)
RULED = [
    *(_ruled(b, rule) for b in BACKENDS if b.name in ("llama-float64", "pocket-draft") for rule in (*RULES,)[1:]),
    *(_ruled(DRAFTED, rule) for rule in RULES),
    _ruled(LINES, "line"),
]
"""Backends under other rules of where a step ends; and what is drafted token by token, under each."""


CUDA = [
    Backend(
        f"{architecture}-{dtype}-cuda",
        lambda miniatures, architecture=architecture, dtype=dtype: miniatures.language(  # type: ignore[misc]
            architecture=architecture, dtype=dtype, device="cuda"
        ),
        tolerance,
    )
    for architecture, dtype, tolerance in GPU
]
