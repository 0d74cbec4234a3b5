"""Callers, and servers of draft, base and reward between them: a closed network of queues, simulated (simpy).

A caller decides step after step: the draft writes; the base scores while the reward judges; a refused step is written
by the base and judged. Which steps are refused is drawn, each with probability 1 − a. A server works on all that it has
at once, and slower the more that is (processor sharing with a load-dependent rate): with j calls in it one that takes s
seconds alone takes

    s·(1 + γ·(j − 1))          γ = 0: company is free,  γ = 1: one call after another would take as long

A call goes to the server of its model with the fewest. Servers that share `devices` fewer than they are work in turns:
with m of them busy each runs at devices/m of its pace.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal

import numpy as np
import simpy

from gsi_node.tools.step_parts import StepSeconds

ServerKind = Literal["draft", "base", "reward"]
KINDS: tuple[ServerKind, ...] = ("draft", "base", "reward")
SimulatedRun = Generator[simpy.Event, Any, None]
NONE_LEFT = 1e-9  # of a second of work


@dataclass(frozen=True, slots=True)
class Fleet:
    """What is simulated. company: γ of each part, draft, score, reward, base. servers: by kind. devices: that the
    servers share; None: one each. variation: of a call's seconds, standard deviation over mean (gamma law)."""

    seconds: StepSeconds
    company: Mapping[str, float]
    acceptance: float
    callers: int
    servers: Mapping[ServerKind, int]
    devices: int | None = None
    variation: float = 0.0


@dataclass(frozen=True, slots=True)
class FleetFigures:
    """Steps a second; of each kind the share of time that a server works, and the calls in it on average."""

    steps: float
    busy: Mapping[ServerKind, float]
    calls: Mapping[ServerKind, float]

    @property
    def bottleneck(self) -> ServerKind:
        """Where calls heap up most."""
        return max(KINDS, key=lambda kind: self.calls[kind])


@dataclass(slots=True, eq=False)
class _Work:
    left: float
    company: float
    done: simpy.Event
    pace: float = 0.0


@dataclass(slots=True, eq=False)
class _Server:
    kind: ServerKind
    calls: list[_Work] = field(default_factory=list)


class _Servers:
    """All of a fleet, since those that share devices slow each other."""

    def __init__(self, env: simpy.Environment, fleet: Fleet) -> None:
        self.env, self.devices = env, fleet.devices or inf
        self.of = {kind: [_Server(kind) for _ in range(fleet.servers[kind])] for kind in KINDS}
        self.busy, self.calls = dict.fromkeys(KINDS, 0.0), dict.fromkeys(KINDS, 0.0)
        self._since, self._plan = 0.0, 0

    def serve(self, kind: ServerKind, seconds: float, company: float) -> simpy.Event:
        """An event at the end of a call that takes so long alone."""
        call = _Work(seconds, company, self.env.event())
        self.advance()
        min(self.of[kind], key=lambda server: len(server.calls)).calls.append(call)
        self._again()
        return call.done

    def advance(self) -> None:
        """Work done, and time counted, up to now."""
        passed, self._since = self.env.now - self._since, self.env.now
        for kind in KINDS:
            self.busy[kind] += passed * sum(1 for server in self.of[kind] if server.calls)
            self.calls[kind] += passed * sum(len(server.calls) for server in self.of[kind])
        for call in self._all():
            call.left -= passed * call.pace

    def _all(self) -> list[_Work]:
        return [call for kind in KINDS for server in self.of[kind] for call in server.calls]

    def _again(self) -> None:
        """Who works at what pace from now on, and when the first of them is done."""
        working = [server for kind in KINDS for server in self.of[kind] if server.calls]
        turn = min(1.0, self.devices / max(1, len(working)))
        for server in working:
            for call in server.calls:
                call.pace = turn / (1 + call.company * (len(server.calls) - 1))
        self._plan += 1
        if working:
            first = min(call.left / call.pace for call in self._all())
            self.env.process(self._end(self._plan, max(0.0, first)))

    def _end(self, plan: int, after: float) -> SimulatedRun:
        yield self.env.timeout(after)
        if plan != self._plan:
            return
        self.advance()
        for kind in KINDS:
            for server in self.of[kind]:
                over = [call for call in server.calls if call.left <= NONE_LEFT]
                server.calls = [call for call in server.calls if call.left > NONE_LEFT]
                for call in over:
                    call.done.succeed()
        self._again()


def simulate(fleet: Fleet, steps: int = 4000, seed: int = 0) -> FleetFigures:
    """Of `steps` decided steps, behind a tenth as many that are not counted."""
    env = simpy.Environment()
    servers, dice = _Servers(env, fleet), np.random.default_rng(seed)
    seconds, shape = fleet.seconds, 0.0 if not fleet.variation else fleet.variation**-2
    decided, counted = 0, env.event()
    before = max(fleet.callers, steps // 10)
    start = 0.0

    def call(kind: ServerKind, part: str, alone: float) -> simpy.Event:
        taken = alone * dice.gamma(shape, 1 / shape) if shape else alone
        return servers.serve(kind, taken, fleet.company[part])

    def caller() -> SimulatedRun:
        nonlocal decided, start
        accepted = True
        while True:
            yield call("draft", "draft", seconds.draft if accepted else seconds.draft_after_base)
            scored = call("base", "score", seconds.score)
            yield call("reward", "reward", seconds.reward)
            yield scored
            accepted = bool(dice.random() < fleet.acceptance)
            if not accepted:
                yield call("base", "base", seconds.base)
                yield call("reward", "reward", seconds.base_reward)
            decided += 1
            if decided == before:
                servers.advance()
                servers.busy, servers.calls = dict.fromkeys(KINDS, 0.0), dict.fromkeys(KINDS, 0.0)
                start = env.now
            elif decided == before + steps:
                counted.succeed()

    for _ in range(fleet.callers):
        env.process(caller())
    env.run(until=counted)
    servers.advance()
    passed = env.now - start
    each = {kind: passed * fleet.servers[kind] for kind in KINDS}
    return FleetFigures(
        steps=steps / passed,
        busy={kind: servers.busy[kind] / each[kind] for kind in KINDS},
        calls={kind: servers.calls[kind] / each[kind] for kind in KINDS},
    )
