"""From the samples of a problem to its answer: who votes with which weight, and what the result says of all."""

from __future__ import annotations

from math import isfinite

from langchain_core.messages import AIMessage

from gsi_node.core.choose import vote
from gsi_node.errors import ResumeMismatch
from gsi_node.graph.solver.state import SolverState
from gsi_node.graph.state import add_usage
from gsi_node.graph.telling import summed_usage
from gsi_node.identity import differing_parts
from gsi_node.step.records import decided
from gsi_node.types import Plain

NAME = "math_solver"


def weight_of(steps: list[Plain], bounds: tuple[float, float]) -> float:
    """A sample's vote: the reward of the last step that was decided, put on [0, 1] by the reward's declared range.

    A process reward of the last step judges the whole solution, whose steps it has all seen. 1 where the method
    asks for no rewards or the range has no bounds.
    """
    reward = next((step["reward"] for step in reversed(decided(steps))), None)
    low, high = bounds
    if reward is None or not isfinite(low) or not isfinite(high) or low == high:
        return 1.0
    return float((reward - low) / (high - low))


def votes_of(state: SolverState) -> Plain:
    """Equal answers share the sum of their weights, and the lowest index wins among equals: core.choose.vote."""
    samples = state["samples"]
    _refuse_mixed(state.get("origins", []))
    ballots = vote([sample["answer"] for sample in samples], weights=[sample["weight"] for sample in samples])
    indices = [[samples[voter]["index"] for voter in ballot.voters] for ballot in ballots]
    return {
        "votes": [
            {"answer": ballot.answer, "weight": ballot.weight, "samples": voters}
            for ballot, voters in zip(ballots, indices, strict=True)
        ]
    }


def answer_of(state: SolverState) -> Plain:
    """The result: the heaviest sample that voted for the winner; of all samples, where none has an answer."""
    samples, votes = state["samples"], state["votes"]
    voters = votes[0]["samples"] if votes else range(len(samples))
    best = min((samples[j] for j in voters), key=lambda sample: (-sample["weight"], sample["index"]))
    usage: Plain = {}
    for sample in samples:
        usage = add_usage(usage, sample["usage"])
    degraded = next((why for sample in samples if (why := sample.get("degraded"))), None)
    decided = [step["accepted"] for sample in samples for step in sample["steps"] if step["accepted"] is not None]
    return {
        **{key: best[key] for key in ("response", "answer", "steps", "stop_reason")},
        "usage": usage,
        "acceptance_rate": sum(decided) / len(decided) if decided else None,
        "degraded": degraded,
        "messages": [
            AIMessage(
                content=best["response"],
                name=NAME,
                response_metadata={
                    "model_name": NAME,
                    "problem_id": state["run"]["problem_id"],
                    "answer": best["answer"],
                    "stop_reason": best["stop_reason"],
                    **({"degraded": degraded} if degraded else {}),
                },
                usage_metadata=summed_usage(usage),
            )
        ],
        "finished": True,
    }


def _refuse_mixed(origins: list[Plain]) -> None:
    """A spec names models, and may name others when a run is resumed."""
    for sample in origins[1:]:
        for role, there in origins[0]["models"].items():
            here = sample["models"].get(role)
            if here != there:
                raise ResumeMismatch(
                    f"samples {origins[0]['index']} and {sample['index']} of this run come from different models: "
                    f"{role} {there!r} and {here!r}{differing_parts(there, here)}. Begin on a new thread"
                )
