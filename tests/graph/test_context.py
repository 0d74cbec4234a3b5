"""What a context may say to the node: at the root GSI's own keys; under a parent only what stands under `gsi`."""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.graph import START, StateGraph
from pydantic import BaseModel, ConfigDict
from typing_extensions import TypedDict

from gsi_node import GSIConfig, GSIContext, MathSolver, compile_gsi
from gsi_node.errors import ConfigError, GSIError
from gsi_node.graph.state import GSIState
from tests.graph.world import compiled, config, models

PROBLEM = {"problem": "p"}
Run = Callable[..., Any]


def solver() -> Any:
    return MathSolver(**models(), config=config()).build().compile()


def parent(graph: Any, schema: Any = None) -> Any:
    made: Any = StateGraph(GSIState, context_schema=schema)
    made.add_node("solve", graph)
    made.add_edge(START, "solve")
    return made.compile()


def drawn(out: Any) -> set[int]:
    return {step["n_candidates"] for step in out["steps"]}


@dataclass
class Theirs:
    """A parent's own context: every name that GSI has too means something else in it."""

    user: str = "u"
    n: int = 2
    seed: str = "abc"
    threshold: object = None
    gsi: Any = None


class TheirModel(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    n: int = 2
    beta: str = "mine"
    gsi: Any = None


class TheirDict(TypedDict, total=False):
    n: int
    gsi: Any


FOREIGN: list[Any] = [
    {"n": 2},
    {"user": "u", "n": 2, "seed": "abc", "beta": "none of yours", "max_steps": 1},
    types.MappingProxyType({"n": 2}),
    Theirs(),
    TheirModel(),
    types.SimpleNamespace(n=2, seed="abc"),
    object(),
    "n",
    7,
    ["n"],
]


@pytest.mark.parametrize("context", FOREIGN, ids=lambda c: type(c).__name__)
@pytest.mark.parametrize("make", [compiled, solver])
def test_a_parents_own_keys_are_its_own_affair(context: Any, make: Run) -> None:
    want = make().invoke(PROBLEM)["steps"]
    assert parent(make()).invoke(PROBLEM, context=context)["steps"] == want


OURS: list[Any] = [{"n": 2}, GSIContext(n=2), types.MappingProxyType({"n": 2, "seed": None})]


@pytest.mark.parametrize("own", OURS, ids=lambda c: type(c).__name__)
@pytest.mark.parametrize("make", [compiled, solver])
def test_what_stands_under_gsi_counts(own: Any, make: Run) -> None:
    for context in ({"n": 5, "gsi": own}, Theirs(n=5, gsi=own), TheirModel(n=5, gsi=own)):
        assert drawn(parent(make()).invoke(PROBLEM, context=context)) == {2}
    for schema in (Theirs, TheirModel, TheirDict):
        assert drawn(parent(make(), schema).invoke(PROBLEM, context={"n": 5, "gsi": own})) == {2}


class More(GSIContext):
    user: str = "u"


@pytest.mark.parametrize("make", [compiled, solver])
def test_a_gsicontext_counts_everywhere(make: Run) -> None:
    for context in (GSIContext(n=2), More(n=2)):
        assert drawn(make().invoke(PROBLEM, context=context)) == {2}
        assert drawn(parent(make()).invoke(PROBLEM, context=context)) == {2}
    assert drawn(parent(make(), GSIContext).invoke(PROBLEM, context={"n": 2})) == {2}


@pytest.mark.parametrize("make", [compiled, solver])
async def test_at_the_root_gsis_own_keys_count(make: Run) -> None:
    out = make().invoke(PROBLEM, context={"n": 2, "max_steps": 1})
    assert (drawn(out), out["stop_reason"]) == ({2}, "max_steps")
    assert drawn(await make().ainvoke(PROBLEM, context={"n": 2})) == {2}
    assert drawn(make().batch([PROBLEM], context={"n": 2})[0]) == {2}


@pytest.mark.parametrize("schema", [Theirs, TheirModel, TheirDict])
def test_a_node_compiled_for_the_parents_context(schema: Any) -> None:
    graph = compile_gsi(**models(), config=config(), context_schema=schema)
    assert drawn(graph.invoke(PROBLEM, context={"n": 2})) == {3}
    assert drawn(graph.invoke(PROBLEM, context={"gsi": {"n": 2}})) == {2}


def test_a_run_overrides_what_neither_the_graph_nor_the_law_is_made_of() -> None:
    fixed = "method temperature top_p step_end record max_log_ratio_error allow_degraded earlier_messages".split()
    fixed += ["lookahead", "judge_early"]  # a run goes on under another, so they are none of its settings
    assert [name for name in GSIConfig.model_fields if name not in fixed] + ["fork"] == list(GSIContext.model_fields)
    for name in fixed:
        with pytest.raises(ConfigError, match=f"'{name}'.*Extra inputs are not permitted"):
            compiled().invoke(PROBLEM, context={name: getattr(GSIConfig(), name)})
    for settings_ in (GSIContext, GSIConfig):
        schema = settings_.model_json_schema()["properties"]
        assert all(schema[name]["description"] for name in settings_.model_fields)


MISTAKES: list[tuple[Any, str]] = [
    ({"betta": 1.0}, r"'betta'.*got 1\.0"),
    ({"n": 0}, "'n'.*got 0"),
    ({"seed": "abc"}, "'seed'.*got 'abc'"),
    ({"seed": 2**63}, "'seed'.*got 9223372036854775808"),
    ({"seed": 10**5000}, "'seed'.*got a int that cannot be written"),
    ({"beta": 0.0}, "beta: must be > 0 for method gsi"),
    ({"threshold": float("nan")}, "'threshold'.*got nan"),
    ({"gsi": {"n": 2}}, "'gsi'"),
    ({1: 2}, "1"),
    ({"n": "x" * 9000}, r"'n'.*xxx\.\.\."),
    (7, "GSIContext or a mapping of its keys, got 7"),
    ("n", "want a GSIContext or a mapping"),
    (Theirs(), r"got Theirs\("),
]


@pytest.mark.parametrize(("context", "named"), MISTAKES, ids=lambda c: str(type(c).__name__))
@pytest.mark.parametrize("make", [compiled, solver])
async def test_mistakes_at_the_root_are_named(context: Any, named: str, make: Run) -> None:
    with pytest.raises(ConfigError, match=named) as error:
        make().invoke(PROBLEM, context=context)
    assert len(str(error.value)) < 500
    with pytest.raises(ConfigError, match=named):
        await make().ainvoke(PROBLEM, context=context)


@pytest.mark.parametrize(("own", "named"), MISTAKES, ids=lambda c: str(type(c).__name__))
@pytest.mark.parametrize("make", [compiled, solver])
def test_mistakes_under_a_parent_are_named(own: Any, named: str, make: Run) -> None:
    for context in ({"gsi": own}, Theirs(gsi=own)):
        with pytest.raises(ConfigError, match=named):
            parent(make()).invoke(PROBLEM, context=context)


@dataclass
class Holder:
    gsi: Any = field(default=None)


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.builds(lambda: 10**5000),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from([*GSIContext.model_fields, "gsi", "user"])
CONTEXTS = JSON | st.dictionaries(NAMES, JSON, max_size=4) | st.dictionaries(st.integers(), JSON, max_size=2)
ROOT, MOUNTED = compiled(1), parent(compiled(1))


@settings(max_examples=60, deadline=None)
@given(CONTEXTS)
def test_any_context_runs_or_is_a_typed_error(context: Any) -> None:
    small = dict(context) if isinstance(context, dict) else context
    for name in ("n", "n_fallback"):  # a valid number of candidates may be larger than there is time for
        if isinstance(small, dict) and isinstance(small.get(name), int | float | str):
            small[name] = 0
    for graph, given_ in ((ROOT, small), (MOUNTED, {"gsi": small}), (MOUNTED, small), (MOUNTED, Holder(small))):
        try:
            assert graph.invoke(PROBLEM, context=given_)["stop_reason"]
        except GSIError as error:
            assert str(error)
