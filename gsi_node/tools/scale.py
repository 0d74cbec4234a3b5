"""`gsi scale`: what a fleet of servers does, and how many servers of each kind a wanted throughput takes, by simulation
(queueing.py) from the seconds that `gsi bench --models … --json` measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rich.table import Table

from gsi_node.errors import ConfigError
from gsi_node.tools.bench_sizes import SizeCell
from gsi_node.tools.queueing import KINDS, Fleet, FleetFigures, ServerKind, simulate

PARTS = ("draft", "score", "reward", "base")
STEPS = 2000
"""Decided in a simulation: the figures are within some two percent of those of many more."""


def company_of(cell: SizeCell) -> dict[str, float]:
    """γ by part; 1 where the file does not tell: one call after another."""
    if cell.company is None:
        return dict.fromkeys(PARTS, 1.0)
    return {part: cell.company.gamma(part, getattr(cell.seconds, part)) for part in PARTS}


def servers_for(fleet: Fleet, steps: float) -> dict[ServerKind, int]:
    """The fewest servers found that decide so many steps a second: one more where calls heap up most, until it is
    enough; then one fewer of each kind while it stays so. Raises ConfigError where no number of them is enough."""
    most = dict.fromkeys(KINDS, fleet.callers)
    reached = _figures(fleet, most).steps
    if reached < steps:
        raise ConfigError(
            f"--want: {fleet.callers} callers decide {reached:.3g} steps a second with a server for every call, and "
            f"{steps:.3g} are wanted: raise --callers" + (", or --devices" if fleet.devices is not None else "")
        )
    servers = dict.fromkeys(KINDS, 1)
    while (found := _figures(fleet, servers)).steps < steps:
        open_kinds = [kind for kind in KINDS if servers[kind] < fleet.callers]
        servers[max(open_kinds, key=lambda kind: found.calls[kind])] += 1
    for kind in KINDS:
        while servers[kind] > 1 and _figures(fleet, fewer := {**servers, kind: servers[kind] - 1}).steps >= steps:
            servers = fewer
    return servers


def _figures(fleet: Fleet, servers: Mapping[ServerKind, int]) -> FleetFigures:
    return simulate(replace(fleet, servers=servers), STEPS)


def scale_table(cells: Sequence[SizeCell], fleets: Sequence[Fleet], wanted: float | None) -> Table:
    """A line for each size and fleet, whose seconds and company are the size's. wanted: committed tokens a second, for
    which the servers are found; None: those of the fleet."""
    title = "committed tokens a second; the share of time that draft, base and reward work; where calls heap up"
    made = Table("n, prefix", "accepted", "callers", "servers", "tokens/s", "working, %", "fullest", title=title)
    for cell in cells:
        for usual in fleets:
            fleet = replace(usual, seconds=cell.seconds, company=company_of(cell))
            if wanted is not None:
                fleet = replace(fleet, servers=servers_for(fleet, wanted / cell.tokens))
            found = _figures(fleet, fleet.servers)
            made.add_row(
                f"{cell.n}, {cell.prefix}",
                f"{fleet.acceptance:.2f}",
                str(fleet.callers),
                ",".join(str(fleet.servers[kind]) for kind in KINDS),
                f"{found.steps * cell.tokens:.4g}",
                " ".join(f"{100 * found.busy[kind]:.0f}" for kind in KINDS),
                found.bottleneck,
            )
    return made
