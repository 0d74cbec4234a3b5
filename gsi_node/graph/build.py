"""create_gsi: the node as an uncompiled StateGraph; compile_gsi: the common case."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langgraph.graph import END, START
from langgraph.types import All, Checkpointer

from gsi_node.errors import ConfigError, shown
from gsi_node.graph.compiled import CompiledWholeRun, WholeRunGraph
from gsi_node.graph.context import GSIContext
from gsi_node.graph.edits import is_edited
from gsi_node.graph.nodes import GSINodes
from gsi_node.graph.stage_node import StageNode
from gsi_node.graph.state import GSIInput, GSIOutput, GSIState, extended_schema
from gsi_node.graph.verdicts import read_verdict
from gsi_node.protocols import Reward, StepModel
from gsi_node.step.check import check_models
from gsi_node.step.config import DEFAULT, GSIConfig
from gsi_node.step.context import Models
from gsi_node.step.drafts import GivenDrafts
from gsi_node.step.judging import Continue, NoDraft, Refuse
from gsi_node.types import Plain


def create_gsi(
    *,
    draft: GivenDrafts | None,
    base: StepModel | None,
    reward: Reward | None,
    config: GSIConfig = DEFAULT,
    name: str = "gsi",
    state_schema: type | None = None,
    context_schema: type | None = None,
) -> WholeRunGraph:
    """Guided Speculative Inference (arXiv 2506.04118, algorithm 1) as a StateGraph to compile or to mount as a node.

    draft, base, reward: π_S, π_B and r; one that the method never asks may be None. draft may be a list of several, for
    methods with a ratio: [A, B], or by counts [(A, 3), (B, 1)]. config: the settings; some can be overridden for one
    run through LangGraph's context (GSIContext). name: the node's, and its AIMessage's. state_schema: a TypedDict whose
    further keys pass through the node. context_schema: the parent's own, instead of GSIContext; what it has under `gsi`
    counts. Input and output: GSIInput, GSIOutput. Compiled, it does its whole work under any recursion limit
    (graph/compiled.py).
    Raises ConfigError, LawMismatch (a model cannot work under the sampling law), VocabularyMismatch.
    """
    models = Models(draft, base, reward)
    check_models(models, config)
    nodes = GSINodes(models, config, name)
    rule = config.rule
    graph = WholeRunGraph(
        extended_schema(GSIState, state_schema),
        config=config,
        identity=nodes.identity,
        context_schema=context_schema or GSIContext,
        input_schema=extended_schema(GSIInput, state_schema),
        output_schema=extended_schema(GSIOutput, state_schema),
    )
    judges = (["reward"] if rule.uses_reward else []) + (["score_base"] if rule.uses_score else [])
    fallback = ["fallback"] if rule.fallback else []
    graph.add_node("begin", StageNode("begin", nodes.begin, nodes.sayings, _no_fork))
    for body in ["draft", *judges, "tilt_and_accept", *fallback, "by_hand"]:
        graph.add_node(body, StageNode(body, getattr(nodes, body), nodes.sayings, nodes.forked))
    graph.add_node("finish", StageNode("finish", nodes.finish, nodes.sayings, _no_fork))
    graph.add_edge(START, "begin")
    for before in ["begin", *fallback, "by_hand"]:
        graph.add_conditional_edges(before, _go_on, ["draft", "by_hand", "finish"])
    following = judges or ["tilt_and_accept"]
    for judge in judges:
        graph.add_edge(judge, "tilt_and_accept")
    if config.allow_degraded:
        graph.add_conditional_edges("draft", _drafted(following), [*following, "fallback"])
    else:
        for node in following:
            graph.add_edge("draft", node)
    further = [*fallback, *(judges if rule.scans else []), "draft", "by_hand", "finish"]
    graph.add_conditional_edges("tilt_and_accept", _decided(judges), further)
    graph.add_edge("finish", END)
    return graph


def compile_gsi(
    *,
    draft: GivenDrafts | None,
    base: StepModel | None,
    reward: Reward | None,
    config: GSIConfig = DEFAULT,
    name: str = "gsi",
    state_schema: type | None = None,
    context_schema: type | None = None,
    checkpointer: Checkpointer = None,
    interrupt_before: All | Sequence[str] | None = None,
) -> CompiledWholeRun:
    """create_gsi(...), compiled. checkpointer: a saver for a graph of its own; None (inherit) inside a parent graph.

    interrupt_before: inner nodes before which a run stops until it is invoked with None, such as ["fallback"]: there a
    person looks, and may write the step (docs/people.md). Raises ConfigError for a node that the method does not have.
    """
    graph = create_gsi(
        draft=draft,
        base=base,
        reward=reward,
        config=config,
        name=name,
        state_schema=state_schema,
        context_schema=context_schema,
    )
    _check_nodes(interrupt_before, graph)
    stops = "*" if interrupt_before == "*" else list(interrupt_before or ())
    return graph.compile(checkpointer=checkpointer, interrupt_before=stops, name=name)


def _check_nodes(named: object, graph: WholeRunGraph) -> None:
    if named is None or named == "*":
        return
    unknown = [named] if isinstance(named, str) or not isinstance(named, Sequence) else set(named) - graph.nodes.keys()
    for node in unknown:
        raise ConfigError(
            f"interrupt_before: want '*' or a list of the nodes of method {graph.config.method}, "
            f"{', '.join(graph.nodes)}; got {shown(node)}"
        )


def _no_fork(state: Mapping[str, Any]) -> Plain:
    return {}


def _go_on(state: Mapping[str, Any]) -> str:
    if is_edited(state):
        return "by_hand"
    return "finish" if state["stop_reason"] else "draft"


def _drafted(judges: list[str]) -> Callable[[Mapping[str, Any]], list[str]]:
    """After the draft: its judges; the fallback at once where the draft is lost."""
    return lambda state: ["fallback"] if isinstance(read_verdict(state), NoDraft) else judges


def _decided(judges: list[str]) -> Callable[[Mapping[str, Any]], str | list[str]]:
    """After a verdict: the next chunk of a scan, the fallback, or the next step."""

    def following(state: Mapping[str, Any]) -> str | list[str]:
        verdict = None if is_edited(state) else read_verdict(state)
        if isinstance(verdict, Continue):
            return judges
        return "fallback" if isinstance(verdict, Refuse) else _go_on(state)

    return following
