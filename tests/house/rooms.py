"""The rooms from the lowest to the highest: one imports from rooms above it in this table, never from those below.

Only `specs` constructs backends for the rooms after it: `graph` sees models and rewards through the protocols, and
`service` by spec. `core` and `neural_jko` see of the ground what has no model in it.
"""

from __future__ import annotations

from dataclasses import dataclass

HEAVY = ("torch", "transformers", "langgraph", "langchain_core", "langchain", "matplotlib", "sympy", "reasoning_gym")
FRONTS = ("gsi_node", "evals")  # packages whose own `__init__` is a room's member, and what lies inside is not
ALONE = ("gsi_node.types", "gsi_node.errors")  # import nothing of ours, not even their own room


@dataclass(frozen=True, slots=True)
class Room:
    """One row. `sees`: the rooms and modules it may import, None for all above; `libraries`: those of HEAVY."""

    name: str
    members: tuple[str, ...]  # dotted names; what lies inside a member belongs to the room as well
    holds: str
    sees: tuple[str, ...] | None = None
    libraries: tuple[str, ...] = ()


def _inside(package: str, names: str) -> tuple[str, ...]:
    return tuple(f"{package}.{name}" for name in names.split())


_PLAIN = ("gsi_node.types", "gsi_node.errors")
_FLOOR = ("ground", "host", "core")

ROOMS = (
    Room(
        "ground",
        _inside(
            "gsi_node", "types errors ends protocols bases answer cancel hearing identity spans positions needs posix"
        ),
        "plain data, the exception tree, step ends, the two protocols, answers, cancellation, who hears of "
        "candidates, fingerprints, spans, shared positions, what must be installed",
        (),
    ),
    Room(
        "host",
        ("gsi_node.host",),
        "what is owed to the machine: files, strict JSON, options, shell, screen",
        ("gsi_node.errors", "gsi_node.needs", "gsi_node.posix"),
    ),
    Room("core", ("gsi_node.core",), "the mathematics: numpy, float64, no I/O", _PLAIN),
    Room("tables", ("gsi_node.tables",), "finite models and rewards, which the law sums over", ("ground", "core")),
    Room("step", ("gsi_node.step",), "one step of a method, and its exact law", (*_FLOOR, "tables")),
    Room("text", ("gsi_node.text",), "tokens and words, without torch", ("ground", "host"), ("transformers",)),
    Room(
        "pocket",
        ("gsi_node.pocket",),
        "the pocket models: their world, weights and training",
        ("ground", "host"),
        ("torch", "transformers", "reasoning_gym"),
    ),
    Room(
        "engine",
        ("gsi_node.engine",),
        "the forwards of one in-process model",
        (*_FLOOR, "text"),
        ("torch", "transformers"),
    ),
    Room(
        "models",
        ("gsi_node.models",),
        "step models: in process, behind servers, remote",
        ("ground", "core", "text", "engine"),
        ("torch", "transformers"),
    ),
    Room(
        "rewards",
        ("gsi_node.rewards",),
        "rewards and what wraps them",
        (*_FLOOR, "text", "engine", "models"),
        ("torch", "transformers"),
    ),
    Room(
        "specs",
        ("gsi_node.specs",),
        "the grammar of specs, and what each loads",
        ("ground", "gsi_node.host.strict_json", "text", "pocket", "models", "rewards"),
    ),
    Room(
        "graph",
        ("gsi_node.graph",),
        "the LangGraph node, and the only place in the package that imports langgraph",
        ("ground", "core", "step", "specs"),
        ("langgraph", "langchain_core", "langchain"),
    ),
    Room(
        "neural_jko",
        ("gsi_node.neural_jko",),
        "the second system: a sampler for densities",
        (*_PLAIN, *_inside("gsi_node", "cancel identity needs posix"), "host", "core"),
        ("torch", "matplotlib"),
    ),
    Room(
        "testing",
        ("gsi_node.testing",),
        "the contract of the two protocols, for backends of one's own",
        ("ground",),
    ),
    Room(
        "service",
        ("gsi_node.service",),
        "over HTTP: our model service, and a solver as OpenAI's clients ask for one",
        ("ground", "host", "graph"),
    ),
    Room(
        "tools",
        ("gsi_node.tools",),
        "bench, doctor, calibrate",
        (*_FLOOR, "tables", "step", "pocket", "engine", "models", "rewards", "specs", "graph", "service"),
        ("torch", "transformers"),
    ),
    Room(
        "cli",
        ("gsi_node.cli",),
        "the command `gsi` and its page",
        ("ground", "host", "step", "models", "specs", "graph", "service", "tools", "gsi_node.pocket.world"),
    ),
    Room("front door", ("gsi_node",), "the public names, resolved on first use"),
    Room("graphs", ("graphs",), "things to run, thin over public names", None, HEAVY),
    Room("evals.options", ("evals.options",), "what an option of an evals command reads", ()),
    Room("evals.rows", ("evals.rows",), "a row of results, and the file of rows"),
    Room("evals.data", ("evals.data",), "problems and their layouts", None, ("reasoning_gym",)),
    Room("evals.graders", ("evals.graders",), "what counts as a right answer", None, ("reasoning_gym",)),
    Room("evals.audit", ("evals.audit",), "the graders against pairs whose truth is known"),
    Room("evals.run", ("evals.run",), "plans, workers, execute"),
    Room("evals.report", ("evals.report",), "tallies, tables, plots, the page", None, ("matplotlib",)),
    Room("evals.campaign", ("evals.campaign",), "power, banks, the designs drawn from them, packed rows"),
    Room("evals.tune", ("evals.tune",), "settings searched over runs"),
    Room(
        "evals.train_reward",
        ("evals.train_reward",),
        "a reward of one's own, from problems with checkable answers",
        None,
        ("torch", "transformers", "matplotlib"),
    ),
    Room("evals.jko", ("evals.jko",), "neural JKO compared with MCMC", None, ("torch", "matplotlib")),
    Room("evals", ("evals", "evals.__main__"), "the command"),
)
