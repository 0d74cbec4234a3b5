"""What goes into the solver, what comes out, and what a resume needs to know."""

from __future__ import annotations

from typing import Annotated

from langchain_core.messages import AnyMessage
from langgraph.channels import EphemeralValue
from typing_extensions import TypedDict  # the one pydantic can describe on Python 3.11: LangGraph shows the schemas

from gsi_node.graph.state import add_given_messages
from gsi_node.types import Plain


def add_samples(samples: list[Plain], new: list[Plain]) -> list[Plain]:
    """Reducer of `samples`: in the order of their index."""
    return sorted([*samples, *new], key=lambda sample: int(sample["index"]))


class SolverInput(TypedDict, total=False):
    """A problem, as GSIInput has it; n_samples: how often it is solved (default 1).

    problem_id: names the random streams (default: a blake2b of what is asked). Sample j > 0 uses "problem_id/j".
    initial_steps: partial reasoning from which every sample goes on.
    """

    problem: Annotated[str, EphemeralValue]
    problem_id: Annotated[str | int, EphemeralValue]
    n_samples: Annotated[int, EphemeralValue]
    initial_steps: Annotated[list[Plain], EphemeralValue]
    messages: Annotated[list[AnyMessage], add_given_messages]


class SolverOutput(TypedDict, total=False):
    """The answer that won the vote, and how.

    response, steps, stop_reason: of the heaviest sample with that answer. usage, acceptance_rate: of all samples
    together. degraded: why a sample's base went on alone (GSIConfig.allow_degraded), or None. votes: {"answer",
    "weight", "samples"}, the winner first.
    """

    response: str
    answer: str | None
    steps: list[Plain]
    stop_reason: str
    usage: Plain
    acceptance_rate: float | None
    degraded: str | None
    votes: list[Plain]
    samples: Annotated[list[Plain], add_samples]
    messages: Annotated[list[AnyMessage], add_given_messages]


class SolverState(SolverInput, SolverOutput, total=False):
    """Input, output, and what a resume needs to know.

    run: what is asked, the settings and the models' specs, to be compared. origins: by sample, the fingerprints of the
    models that wrote it. finished: the result stands in the state.
    """

    run: Plain
    origins: Annotated[list[Plain], add_samples]
    finished: bool
