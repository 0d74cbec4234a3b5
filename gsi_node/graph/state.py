"""What the node reads, what it returns, and what it keeps between its own nodes: JSON-plain values throughout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, NotRequired, get_type_hints

from langchain_core.messages import AnyMessage
from langgraph.channels import BinaryOperatorAggregate, DeltaChannel, EphemeralValue
from langgraph.graph.message import Messages, add_messages
from typing_extensions import TypedDict  # the one pydantic can describe on Python 3.11: LangGraph's tools ask it to

from gsi_node.errors import ConfigError, shown
from gsi_node.step.calls import Bill
from gsi_node.types import Plain


def append_steps(steps: list[Plain], writes: Sequence[Any]) -> list[Plain]:
    """Reducer of `steps`: each write is a list of new records. Raises ConfigError for another, which a person wrote."""
    for write in writes:
        if not isinstance(write, list) or not all(isinstance(record, dict) for record in write):
            raise ConfigError(f"steps: want a list of one step, such as [{{'text': '…'}}], got {shown(write)}")
    return [*steps, *(record for write in writes for record in write)]


def add_usage(left: Plain, right: Plain) -> Plain:
    """Reducer of `usage`: sums by role and field (tokens, calls, seconds)."""
    total = dict(left)
    for role, bill in right.items():
        before = left.get(role, {})
        total[role] = {field: before.get(field, 0) + amount for field, amount in bill.items()}
    return total


def plain_bill(bill: Bill) -> Plain:
    """A driver's bill as a value for the state."""
    return {role: asdict(usage) for role, usage in bill.items()}


def latest(left: Plain, right: Plain) -> Plain:
    """Reducer of `gsi_run`."""
    return right


def add_given_messages(left: Messages, right: Messages) -> Messages:
    """LangGraph's add_messages, a reducer. Raises ConfigError for what is no message."""
    try:
        return add_messages(left, right)
    except (NotImplementedError, ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        told = str(error).split("\n", 1)[0]
        raise ConfigError(f"messages: want messages, or dicts with role and content: {shown(told, 200)}") from error


class GSIInput(TypedDict, total=False):
    """A problem: `problem` alone, or else the last of `messages`, a human one, with the conversation before it.

    problem_id: names the random streams (default: a blake2b of what is asked). initial_steps: dicts with `text`,
    partial reasoning to go on from. All but `messages` live for one superstep only: a second run on a thread starts
    clean.
    """

    problem: Annotated[str, EphemeralValue]
    problem_id: Annotated[str | int, EphemeralValue]
    initial_steps: Annotated[list[Plain], EphemeralValue]
    messages: Annotated[list[AnyMessage], add_given_messages]


class GSIOutput(TypedDict, total=False):
    """The result; the records in `steps` are described in docs/node.md."""

    response: str | None
    answer: str | None
    steps: Annotated[list[Plain], DeltaChannel(append_steps)]
    stop_reason: str | None
    usage: Annotated[Plain, BinaryOperatorAggregate(dict, add_usage)]
    acceptance_rate: float | None
    degraded: str | None
    messages: Annotated[list[AnyMessage], add_given_messages]


class GSIState(GSIInput, GSIOutput, total=False):
    """Input, output and the working keys, which begin with gsi_.

    gsi_run: what is asked, the version of the sampling law, the settings and the models' fingerprints. gsi_batch,
    gsi_rewards, gsi_scores: the candidates of the current step, and what is known of the first of them. gsi_verdict:
    what became of them, on which the graph routes. gsi_refused: the record of a refused batch while the fallback runs.
    gsi_digest: of the steps as the nodes wrote them, by which one that a person wrote is told.
    """

    gsi_run: Annotated[Plain, BinaryOperatorAggregate(dict, latest)]  # nodes side by side may write the same fork
    gsi_batch: list[Plain] | None
    gsi_rewards: list[float] | None
    gsi_scores: list[list[float]] | None
    gsi_verdict: Plain | None
    gsi_refused: Plain | None
    gsi_digest: str


def extended_schema(base: type, extra: type | None) -> type:
    """A TypedDict with the keys of `base`, and those of `extra` (a TypedDict or None) that GSIState does not have."""
    if extra is None:
        return base
    ours = get_type_hints(GSIState, include_extras=True)
    added = {key: hint for key, hint in get_type_hints(extra, include_extras=True).items() if key not in ours}
    wanted = get_type_hints(base, include_extras=True)
    fields: dict[str, Any] = {key: NotRequired[hint] for key, hint in {**wanted, **added}.items()}
    return TypedDict(base.__name__, fields)  # type: ignore[operator,no-any-return]
