"""Guided Speculative Inference as a stateful LangGraph node. Names are resolved on first use, so importing is cheap."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "GSIChatModel": "graph.chat_model",
    "GSIConfig": "step.config",
    "GSIContext": "graph.context",
    "GSIError": "errors",
    "GSIInput": "graph.state",
    "GSIOutput": "graph.state",
    "GSIState": "graph.state",
    "METHODS": "step.methods",
    "MathSolver": "graph.solver.math_solver",
    "Key": "types",
    "Method": "step.methods",
    "Prefix": "types",
    "Reward": "protocols",
    "RewardBase": "bases",
    "SamplingLaw": "types",
    "Score": "types",
    "Step": "types",
    "StepModel": "protocols",
    "StepModelBase": "bases",
    "Stream": "core.rng",
    "StrictSerializer": "graph.serde",
    "Turn": "types",
    "Models": "step.context",
    "Solution": "step.solve",
    "StepContext": "step.context",
    "asolve": "step.solve",
    "build_math_solver": "graph.solver.math_solver",
    "calibrate_log_c": "core.accept",
    "calibrate_log_ratio_clip": "core.accept",
    "callable_reward": "rewards.callables",
    "compile_gsi": "graph.build",
    "create_gsi": "graph.build",
    "decide_step": "step.decide",
    "exact_step_law": "step.law",
    "gsi_tool": "graph.tool",
    "last_boxed": "answer",
    "load_model": "specs.load",
    "load_reward": "specs.load",
    "solve": "step.solve",
}

__all__ = [
    "METHODS",
    "GSIChatModel",
    "GSIConfig",
    "GSIContext",
    "GSIError",
    "GSIInput",
    "GSIOutput",
    "GSIState",
    "Key",
    "MathSolver",
    "Method",
    "Models",
    "Prefix",
    "Reward",
    "RewardBase",
    "SamplingLaw",
    "Score",
    "Solution",
    "Step",
    "StepContext",
    "StepModel",
    "StepModelBase",
    "Stream",
    "StrictSerializer",
    "Turn",
    "asolve",
    "build_math_solver",
    "calibrate_log_c",
    "calibrate_log_ratio_clip",
    "callable_reward",
    "compile_gsi",
    "create_gsi",
    "decide_step",
    "exact_step_law",
    "gsi_tool",
    "last_boxed",
    "load_model",
    "load_reward",
    "solve",
]

if TYPE_CHECKING:
    from gsi_node.answer import last_boxed
    from gsi_node.bases import RewardBase, StepModelBase
    from gsi_node.core.accept import calibrate_log_c, calibrate_log_ratio_clip
    from gsi_node.core.rng import Stream
    from gsi_node.errors import GSIError
    from gsi_node.graph.build import compile_gsi, create_gsi
    from gsi_node.graph.chat_model import GSIChatModel
    from gsi_node.graph.context import GSIContext
    from gsi_node.graph.serde import StrictSerializer
    from gsi_node.graph.solver.math_solver import MathSolver, build_math_solver
    from gsi_node.graph.state import GSIInput, GSIOutput, GSIState
    from gsi_node.graph.tool import gsi_tool
    from gsi_node.protocols import Reward, StepModel
    from gsi_node.rewards.callables import callable_reward
    from gsi_node.specs.load import load_model, load_reward
    from gsi_node.step.config import GSIConfig
    from gsi_node.step.context import Models, StepContext
    from gsi_node.step.decide import decide_step
    from gsi_node.step.law import exact_step_law
    from gsi_node.step.methods import METHODS, Method
    from gsi_node.step.solve import Solution, asolve, solve
    from gsi_node.types import Key, Prefix, SamplingLaw, Score, Step, Turn


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
