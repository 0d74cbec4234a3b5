"""A larger graph around the GSI node: prepare → k solves in parallel → a vote weighted by reward → the answer.

    python graphs/math_solver.py "What is 12 * (7 + 5)?"        (--help for the rest)

`graph` is for LangGraph's own tools (graphs/langgraph.json). Nothing is loaded before the first problem arrives.

Each solve calls the compiled GSI subgraph inside a node of its own, since parallel Sends straight to a mounted
subgraph raise InvalidUpdateError. Compiled with checkpointer=None, that subgraph inherits the parent's saver and gets a
namespace for each Send ("solve:<task id>", the same id when the parent resumes): after an exception or a kill every
sample goes on from its own last superstep, and finished ones are not run again (tests/graphs/test_resume.py).
"""

import asyncio
import sys

if __name__ == "__main__":  # --help and mistakes on the command line are answered before langgraph gets imported
    from gsi_node.cli.start import start

    ARGUMENTS = start(sys.argv[1:])

from collections.abc import Mapping
from math import isfinite
from threading import Lock
from typing import Annotated, Any

from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.channels import EphemeralValue
from langgraph.graph import END, START
from langgraph.types import Overwrite, Send
from typing_extensions import TypedDict  # the one pydantic can describe on Python 3.11: LangGraph shows the schemas

from gsi_node import GSIConfig, GSIContext, Reward, StepModel, compile_gsi, load_model, load_reward
from gsi_node.core.choose import vote
from gsi_node.errors import ConfigError, ResumeMismatch, shown
from gsi_node.graph.compiled import CompiledWholeRun, WholeRunGraph
from gsi_node.graph.inputs import read_problem
from gsi_node.graph.state import add_given_messages, add_usage
from gsi_node.identity import differing_parts, same_fingerprint
from gsi_node.step.given import read_problem_id
from gsi_node.types import Plain

SAMPLE_PROBLEMS = (
    "What is 12 * (7 + 5)?",
    "Solve for x: 3x + 5 = 20.",
    "Ben has 9 boxes with 19 cards in each box. Ben gives away 57 cards. How many cards does Ben have left?",
)


def add_samples(samples: list[Plain], new: list[Plain]) -> list[Plain]:
    """Reducer of `samples`: in the order of their index."""
    return sorted([*samples, *new], key=lambda sample: int(sample["index"]))


class SolverInput(TypedDict, total=False):
    """A problem, as `problem` or as the last human message; n_samples: how often it is solved (default 1).

    problem_id: names the random streams (default: a blake2b of the problem). Sample j > 0 uses "problem_id/j".
    """

    problem: Annotated[str, EphemeralValue]
    problem_id: Annotated[str | int, EphemeralValue]
    n_samples: Annotated[int, EphemeralValue]
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

    run: the problem, the settings and the models' specs, to be compared. origins: by sample, the fingerprints of the
    models that wrote it. finished: the result stands in the state.
    """

    run: Plain
    origins: Annotated[list[Plain], add_samples]
    finished: bool


class MathSolver:
    """The nodes, over three models that are loaded when the first problem arrives.

    draft, base, reward: a spec such as "pocket:draft" or "hf:NAME", or an object.
    """

    def __init__(self, draft: str | StepModel, base: str | StepModel, reward: str | Reward, config: GSIConfig) -> None:
        self.config = config
        self._given: Plain = {"draft": draft, "base": base, "reward": reward}
        self._range = (0.0, 1.0)
        self.fingerprints: Plain = {}  # by role, once the models are loaded
        self._gsi: CompiledWholeRun | None = None
        self._lock = Lock()

    def identity(self) -> Plain:
        """What determines a run, apart from its problem: the settings, and the models the method asks."""
        names = {role: self._given[role] for role in sorted(self.config.rule.models)}
        named = {role: item if isinstance(item, str) else item.fingerprint for role, item in names.items()}
        return {"config": self.config.model_dump(), "models": named}

    def gsi(self) -> CompiledWholeRun:
        """The GSI subgraph; the first call loads the models that the method asks."""
        with self._lock:
            if self._gsi is None:
                loaded: Plain = dict.fromkeys(self._given)
                for role in sorted(self.config.rule.models):
                    given = self._given[role]
                    load = load_reward if role == "reward" else load_model
                    loaded[role] = load(given) if isinstance(given, str) else given
                if loaded["reward"] is not None:
                    self._range = loaded["reward"].range
                self.fingerprints = {
                    role: getattr(m, "fingerprint", None) for role, m in loaded.items() if m is not None
                }
                self._gsi = compile_gsi(**loaded, config=self.config)
            return self._gsi

    def prepare(self, state: SolverState) -> Plain:
        """Read the input, and clear what an earlier problem left on the thread."""
        given: Plain = dict(state)  # a caller may have put anything there
        problem = read_problem(given, self.config)
        problem_id = read_problem_id(given.get("problem_id"), problem)
        n_samples = 1 if given.get("n_samples") is None else given["n_samples"]
        if isinstance(n_samples, bool) or not isinstance(n_samples, int) or n_samples < 1:
            raise ConfigError(f"n_samples: want an integer ≥ 1, got {shown(n_samples)}")
        about = {"problem": problem, "problem_id": problem_id, "n_samples": n_samples}
        return {
            "run": {**about, **self.identity()},
            "samples": Overwrite([]),
            "origins": Overwrite([]),
            "finished": False,
        }

    def weight(self, steps: list[Plain]) -> float:
        """A sample's vote: the reward of its last step, put on [0, 1] by the reward's declared range.

        A process reward of the last step judges the whole solution, whose steps it has all seen. 1 where the method
        asks for no rewards or the range has no bounds.
        """
        reward = steps[-1]["reward"] if steps else None
        low, high = self._range
        if reward is None or not isfinite(low) or not isfinite(high) or low == high:
            return 1.0
        return float((reward - low) / (high - low))

    def vote(self, state: SolverState) -> Plain:
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

    def answer(self, state: SolverState) -> Plain:
        """The result: the heaviest sample that voted for the winner; of all samples, where none has an answer."""
        samples, votes = state["samples"], state["votes"]
        voters = votes[0]["samples"] if votes else range(len(samples))
        best = min((samples[j] for j in voters), key=lambda sample: (-sample["weight"], sample["index"]))
        usage: Plain = {}
        for sample in samples:
            usage = add_usage(usage, sample["usage"])
        decided = [step["accepted"] for sample in samples for step in sample["steps"] if step["accepted"] is not None]
        return {
            **{key: best[key] for key in ("response", "answer", "steps", "stop_reason")},
            "usage": usage,
            "acceptance_rate": sum(decided) / len(decided) if decided else None,
            "degraded": next((why for sample in samples if (why := sample.get("degraded"))), None),
            "messages": [
                AIMessage(
                    content=best["response"],
                    name="math_solver",
                    response_metadata={"problem_id": state["run"]["problem_id"], "answer": best["answer"]},
                )
            ],
            "finished": True,
        }

    def build(self) -> WholeRunGraph:
        """The graph, uncompiled."""
        graph = WholeRunGraph(
            SolverState, context_schema=GSIContext, input_schema=SolverInput, output_schema=SolverOutput
        )
        graph.add_node("prepare", self.prepare)
        graph.add_node("solve", Solve(self))
        graph.add_node("vote", self.vote)
        graph.add_node("answer", self.answer)
        graph.add_edge(START, "prepare")
        graph.add_conditional_edges("prepare", _one_send_a_sample, ["solve"])
        graph.add_edge("solve", "vote")
        graph.add_edge("vote", "answer")
        graph.add_edge("answer", END)
        return graph


class Solve(Runnable[Any, Plain]):
    """One sample: the GSI subgraph, called with this node's own config, which carries saver, namespace and streams."""

    def __init__(self, solver: MathSolver) -> None:
        self.name = "solve"
        self.solver = solver

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Plain:
        problem = {"problem": input["problem"], "problem_id": input["problem_id"]}
        return self._sample(input, self.solver.gsi().invoke(problem, config))

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Plain:
        problem = {"problem": input["problem"], "problem_id": input["problem_id"]}
        gsi = await asyncio.to_thread(self.solver.gsi)
        return self._sample(input, await gsi.ainvoke(problem, config))

    def _sample(self, task: Plain, result: Mapping[str, Any]) -> Plain:
        keys = ("response", "answer", "steps", "stop_reason", "usage", "acceptance_rate", "degraded")
        kept = {key: result[key] for key in keys}
        about = {
            "index": task["index"],
            "problem_id": task["problem_id"],
            "weight": self.solver.weight(result["steps"]),
        }
        origin = {"index": task["index"], "models": self.solver.fingerprints}
        return {"samples": [{**about, **kept}], "origins": [origin]}


def _refuse_mixed(origins: list[Plain]) -> None:
    """A spec names models, and may name others when a run is resumed; samples of earlier versions do not tell."""
    for sample in origins[1:]:
        for role, there in origins[0]["models"].items():
            here = sample["models"].get(role)
            if not same_fingerprint(here, there):
                raise ResumeMismatch(
                    f"samples {origins[0]['index']} and {sample['index']} of this run come from different models: "
                    f"{role} {there!r} and {here!r}{differing_parts(there, here)}. Begin on a new thread"
                )


def _one_send_a_sample(state: SolverState) -> list[Send]:
    run = state["run"]
    ids = [run["problem_id"] + (f"/{j}" if j else "") for j in range(run["n_samples"])]
    return [Send("solve", {"problem": run["problem"], "problem_id": name, "index": j}) for j, name in enumerate(ids)]


def build_graph(
    draft: str | StepModel = "pocket:draft",
    base: str | StepModel = "pocket:base",
    reward: str | Reward = "pocket",
    config: GSIConfig | None = None,
) -> WholeRunGraph:
    """The solver as a StateGraph to compile, over specs or model objects. config: the settings (default: n = 8)."""
    return MathSolver(draft, base, reward, config or GSIConfig(n=8)).build()


graph = build_graph().compile(name="math_solver")

if __name__ == "__main__":
    from gsi_node.cli.run import run
    from gsi_node.host.shell import ending

    with ending():
        sys.exit(run(ARGUMENTS, MathSolver, SAMPLE_PROBLEMS))
