"""The math solver's nodes. Every sample is a call of the GSI subgraph inside a node of its own, since parallel Sends
straight to a mounted subgraph raise InvalidUpdateError.

Compiled with checkpointer=None, that subgraph inherits the parent's saver and gets a namespace for each Send
("solve:<task id>", the same id when the parent resumes): after an exception or a kill every sample goes on from its own
last superstep, and finished ones are not run again (tests/graphs/test_resume.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from threading import Lock
from typing import Any, cast

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.graph import END, START
from langgraph.types import All, Overwrite, Send, StateSnapshot

from gsi_node.errors import ConfigError, shown
from gsi_node.graph.build import compile_gsi
from gsi_node.graph.compiled import CompiledWholeRun, WholeRunGraph
from gsi_node.graph.context import GSIContext
from gsi_node.graph.inputs import as_input, read_input
from gsi_node.graph.solver.state import SolverInput, SolverOutput, SolverState
from gsi_node.graph.solver.votes import answer_of, votes_of, weight_of
from gsi_node.protocols import Reward, StepModel
from gsi_node.specs.load import load_part
from gsi_node.step.config import GSIConfig
from gsi_node.step.context import Models
from gsi_node.step.drafts import GivenDrafts
from gsi_node.step.problem import pack_asked, read_problem_id, unpack_asked
from gsi_node.types import Plain


class MathSolver:
    """The nodes, over three models that are loaded when the first problem arrives.

    draft, base, reward: a spec such as "pocket:draft" or "hf:NAME", or an object; of several drafts "A + B" or
    "A*3 + B*1", or a list of objects, as of create_gsi. interrupt_before: as of compile_gsi, inside of each sample.
    """

    def __init__(
        self,
        draft: str | GivenDrafts,
        base: str | StepModel,
        reward: str | Reward,
        config: GSIConfig,
        interrupt_before: All | Sequence[str] | None = None,
    ) -> None:
        self.config = config
        self._interrupt_before = interrupt_before
        self._given: Plain = {"draft": draft, "base": base, "reward": reward}
        self.reward_range = (0.0, 1.0)
        self.fingerprints: Plain = {}  # by role, once the models are loaded
        self._gsi: CompiledWholeRun | None = None
        self._lock = Lock()

    def identity(self) -> Plain:
        """What determines a run, apart from its problem: the settings, and the models the method asks."""
        names = {role: self._given[role] for role in sorted(self.config.rule.models)}
        objects = {role: None if isinstance(item, str) else item for role, item in self._given.items()}
        known = Models(**objects).fingerprints()
        named = {role: item if isinstance(item, str) else known[role] for role, item in names.items()}
        return {"config": self.config.identity(), "models": named}

    @property
    def loaded(self) -> bool:
        """Whether the models are."""
        return self._gsi is not None

    def gsi(self) -> CompiledWholeRun:
        """The GSI subgraph; the first call loads the models that the method asks."""
        with self._lock:
            if self._gsi is None:
                loaded: Plain = dict.fromkeys(self._given)
                for role in sorted(self.config.rule.models):
                    given = self._given[role]
                    loaded[role] = load_part(role, given) if isinstance(given, str) else given
                if loaded["reward"] is not None:
                    self.reward_range = loaded["reward"].range
                self._gsi = compile_gsi(**loaded, config=self.config, interrupt_before=self._interrupt_before)
                known = Models(**loaded).fingerprints()
                self.fingerprints = {role: known[role] for role, part in loaded.items() if part is not None}
            return self._gsi

    def prepare(self, state: SolverState) -> Plain:
        """Read the input, and clear what an earlier problem left on the thread."""
        given: Plain = dict(state)  # a caller may have put anything there
        asked = read_input(given, self.config)
        problem_id = read_problem_id(given.get("problem_id"), asked)
        n_samples = 1 if given.get("n_samples") is None else given["n_samples"]
        if isinstance(n_samples, bool) or not isinstance(n_samples, int) or n_samples < 1:
            raise ConfigError(f"n_samples: want an integer ≥ 1, got {shown(n_samples)}")
        return {
            "run": {
                **pack_asked(asked, problem_id),
                **_initial(given),
                "n_samples": n_samples,
                **self.identity(),
            },
            "samples": Overwrite([]),
            "origins": Overwrite([]),
            "finished": False,
        }

    def build(self) -> WholeRunGraph:
        """The graph, uncompiled."""
        graph = SolverGraph(
            SolverState,
            config=self.config,
            identity=self.identity(),
            context_schema=GSIContext,
            input_schema=SolverInput,
            output_schema=SolverOutput,
        )
        graph.add_node("prepare", self.prepare)
        graph.solver = self
        graph.add_node("solve", Solve(self))
        graph.add_node("vote", votes_of)
        graph.add_node("answer", answer_of)
        graph.add_edge(START, "prepare")
        graph.add_conditional_edges("prepare", _one_send_a_sample, ["solve"])
        graph.add_edge("solve", "vote")
        graph.add_edge("vote", "answer")
        graph.add_edge("answer", END)
        return graph


class SolverGraph(WholeRunGraph):
    """The solver's graph, whose compile() gives a CompiledSolver."""

    solver: MathSolver

    def compile(self, *args: Any, **kwargs: Any) -> CompiledSolver:
        solver = CompiledSolver.__new__(CompiledSolver)
        solver.__dict__.update(super().compile(*args, **kwargs).__dict__)
        return solver


class CompiledSolver(CompiledWholeRun):
    """The solver, which knows the node inside of its samples: a person looks into a sample and writes a step there
    (docs/people.md). LangGraph does not find the node by itself, since it is loaded when the first problem arrives; or
    here, where somebody wants to look into it."""

    @property
    def _solver(self) -> MathSolver:
        return cast(SolverGraph, self.builder).solver

    def get_state(self, config: RunnableConfig, *, subgraphs: bool = False) -> StateSnapshot:
        if subgraphs:
            self._solver.gsi()
        return super().get_state(config, subgraphs=subgraphs)

    async def aget_state(self, config: RunnableConfig, *, subgraphs: bool = False) -> StateSnapshot:
        if subgraphs:
            await asyncio.to_thread(self._solver.gsi)
        return await super().aget_state(config, subgraphs=subgraphs)

    def get_subgraphs(
        self, *, namespace: str | None = None, recurse: bool = False
    ) -> Iterator[tuple[str, CompiledWholeRun]]:
        if namespace == "solve" or (namespace is None and self._solver.loaded):
            yield "solve", self._solver.gsi()

    async def aget_subgraphs(
        self, *, namespace: str | None = None, recurse: bool = False
    ) -> AsyncIterator[tuple[str, CompiledWholeRun]]:
        for found in await asyncio.to_thread(list, self.get_subgraphs(namespace=namespace, recurse=recurse)):
            yield found


class Solve(Runnable[Any, Plain]):
    """One sample: the GSI subgraph, called with this node's own config, which carries saver, namespace and streams."""

    def __init__(self, solver: MathSolver) -> None:
        self.name = "solve"
        self.solver = solver

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Plain:
        return self._sample(input, self.solver.gsi().invoke(_asked(input), config))

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Plain:
        gsi = await asyncio.to_thread(self.solver.gsi)
        return self._sample(input, await gsi.ainvoke(_asked(input), config))

    def _sample(self, task: Plain, result: Mapping[str, Any]) -> Plain:
        keys = ("response", "answer", "steps", "stop_reason", "usage", "acceptance_rate", "degraded")
        kept = {key: result[key] for key in keys}
        about = {
            "index": task["index"],
            "problem_id": task["problem_id"],
            "weight": weight_of(result["steps"], self.solver.reward_range),
        }
        origin = {"index": task["index"], "models": self.solver.fingerprints}
        return {"samples": [{**about, **kept}], "origins": [origin]}


def _one_send_a_sample(state: SolverState) -> list[Send]:
    run = state["run"]
    ids = [run["problem_id"] + (f"/{j}" if j else "") for j in range(run["n_samples"])]
    asked = unpack_asked(run)
    return [Send("solve", {**pack_asked(asked, name), **_initial(run), "index": j}) for j, name in enumerate(ids)]


def _asked(task: Plain) -> Plain:
    return {**as_input(unpack_asked(task)), **_initial(task), "problem_id": task["problem_id"]}


def _initial(given: Plain) -> Plain:
    """The steps to go on from, where there are some; the node reads them."""
    return {} if given.get("initial_steps") is None else {"initial_steps": given["initial_steps"]}


def build_math_solver(
    draft: str | GivenDrafts = "pocket:draft",
    base: str | StepModel = "pocket:base",
    reward: str | Reward = "pocket",
    config: GSIConfig | None = None,
    *,
    interrupt_before: All | Sequence[str] | None = None,
) -> WholeRunGraph:
    """The solver as a StateGraph to compile, over specs or model objects. config: the settings (default: n = 8).

    interrupt_before: inner nodes, such as ["fallback"], before which every sample stops until the solver is invoked
    with None; a person may then write the step of any of them (docs/people.md).
    """
    return MathSolver(draft, base, reward, config or GSIConfig(n=8), interrupt_before).build()
