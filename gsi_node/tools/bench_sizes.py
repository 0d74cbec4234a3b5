"""`gsi bench --models` and `--shape`: seconds of every part of a step, GSI against soft best-of-n from the base, and
tokens a second beside what the machine allows (step_parts.py, machine.py)."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveInt, ValidationError
from rich.table import Table

from gsi_node.errors import ConfigError
from gsi_node.graph.build import compile_gsi
from gsi_node.host.files import read_object, write
from gsi_node.protocols import prompt_length
from gsi_node.step.config import GSIConfig
from gsi_node.step.layers import first_line
from gsi_node.step.records import decided
from gsi_node.tools.bench import PROBLEMS
from gsi_node.tools.step_parts import CompanySeconds, PartTimer, StepSeconds, StepSize

PUBLISHED_ACCEPTANCE = 0.82
"""Of GSI with Qwen2.5-Math-1.5B and -7B (arXiv 2506.04118)."""
MEASURED: Literal["measured"] = "measured"
Acceptance = float | Literal["measured"]
STEPS = 4  # decided of each problem, where the acceptance is measured
_STRICT = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PartRate(BaseModel):
    """Tokens a second of a part, and what memory and arithmetic allow; None where the model runs elsewhere."""

    model_config = _STRICT

    part: str
    tokens_per_second: NonNegativeFloat
    memory: NonNegativeFloat | None
    arithmetic: NonNegativeFloat | None


class SizeCell(BaseModel):
    """One size. prefix: tokens that were asked for, read: that the draft's prompt has. distinct: different candidates
    of n, the mean. acceptance: shares of accepted steps to compare at; measured: the one found, of `decided` steps."""

    model_config = _STRICT

    n: PositiveInt
    prefix: PositiveInt
    read: PositiveInt
    tokens: PositiveInt
    distinct: NonNegativeFloat
    seconds: StepSeconds
    rates: list[PartRate]
    acceptance: list[NonNegativeFloat]
    company: CompanySeconds | None = None
    measured: NonNegativeFloat | None = None
    decided: PositiveInt | None = None


class SizesRecord(BaseModel):
    """What --json writes. models: by role. notes: what they found out about themselves meanwhile."""

    model_config = _STRICT

    models: dict[str, str]
    repeats: PositiveInt
    cells: list[SizeCell] = []
    notes: list[str] = []


def read_sizes(path: Path) -> SizesRecord:
    """A file of --json. Raises ConfigError."""
    found = read_object(path)
    if found is None:
        raise ConfigError(f"{path}: no such file; `gsi bench --models … --json FILE` writes one")
    try:
        return SizesRecord.model_validate(found)
    except ValidationError as error:
        raise ConfigError(f"{path}: not of `gsi bench --models … --json`: {first_line(error)}") from error


def measure_sizes(
    parts: dict[str, Any],
    sizes: Sequence[StepSize],
    acceptance: Sequence[Acceptance],
    record: SizesRecord,
    *,
    company: int = 1,
    file: Path | None = None,
) -> SizesRecord:
    """The record with a cell for each size; `file` has, after each, those that are finished. company: callers."""
    for size in sizes:
        cell = _cell(parts, size, acceptance, record.repeats, company)
        notes = [f"{role} {told}" for role, part in parts.items() for told in _engine_findings(part)]
        record = record.model_copy(update={"cells": [*record.cells, cell], "notes": notes})
        if file is not None:
            write(file, record.model_dump_json(indent=1) + "\n")
    return record


def _engine_findings(part: object) -> tuple[str, ...]:
    engine = getattr(part, "engine", None)
    return () if engine is None else engine.findings


def _cell(
    parts: dict[str, Any], size: StepSize, acceptance: Sequence[Acceptance], repeats: int, company: int
) -> SizeCell:
    timer = PartTimer(parts, size)
    seconds = timer.measure(repeats)
    given = [share for share in acceptance if share != MEASURED]
    found, count = measured_acceptance(parts, size) if MEASURED in acceptance else (None, None)
    return SizeCell(
        n=size.n,
        prefix=size.prefix,
        read=prompt_length(parts["draft"], timer.start),
        tokens=size.tokens,
        distinct=statistics.mean(timer.distinct),
        seconds=seconds,
        rates=list(_rates(parts, size, seconds)),
        acceptance=given if found is None else [*given, found],
        company=timer.together(company, repeats) if company > 1 else None,
        measured=found,
        decided=count,
    )


def measured_acceptance(parts: dict[str, Any], size: StepSize) -> tuple[float, int]:
    """The share of accepted steps, and of how many, in the first STEPS of the node's runs over PROBLEMS."""
    config = GSIConfig(n=size.n, max_step_tokens=size.tokens, max_steps=STEPS)
    graph = compile_gsi(**parts, config=config)
    steps = [step for problem in PROBLEMS for step in decided(graph.invoke({"problem": problem})["steps"])]
    return sum(step["accepted"] for step in steps) / len(steps), len(steps)


def _rates(parts: dict[str, Any], size: StepSize, seconds: StepSeconds) -> Iterator[PartRate]:
    """Of drafting, scoring, the reward, and the base's writing."""
    for part, role in (("draft", "draft"), ("score", "base"), ("reward", "reward"), ("base", "base")):
        taken = getattr(seconds, part)
        engine, allowed = getattr(parts[role], "engine", None), None
        if engine is not None:
            from gsi_node.tools.machine import NetworkSize  # it imports torch

            network = NetworkSize.of(engine)
            bound = network.drawing if part in ("draft", "base") else network.reading
            allowed = bound(size.prefix, size.n, size.tokens)
        yield PartRate(
            part=part,
            tokens_per_second=size.n * size.tokens / taken,
            memory=None if allowed is None else allowed.memory,
            arithmetic=None if allowed is None else allowed.arithmetic,
        )


def tables(record: SizesRecord) -> list[Table]:
    """Parts (then: the draft behind a step of the base; judge: the reward; both: score and reward at once; its: of what
    the base wrote), the two methods, rates."""
    told = ", ".join(f"{role} {spec}" for role, spec in record.models.items())
    notes = "; ".join(record.notes) or None
    parts = Table("prefix", "n", *_PARTS, title=f"median seconds of each part: {told}", caption=notes)
    methods = Table(
        "prefix", "n", "accepted", "gsi", "sbon-base", "ratio", *_SHARES, title="seconds a step; gsi's shares"
    )
    rates = Table(
        "prefix", "n", "unlike", "part", "tokens/s", *_BOUNDS, "reached", title="tokens a second, and their bounds"
    )
    for cell in record.cells:
        where, seconds = (str(cell.prefix), str(cell.n)), cell.seconds
        times = (getattr(seconds, part) for part in _PARTS.values())
        parts.add_row(*where, *map(_told, times))
        for share in cell.acceptance:
            gsi, plain = seconds.gsi(share), seconds.sbon_base
            split = (seconds.drafting(share), seconds.judged, seconds.fallback(share))
            found = f"{share:.2f}" + (f" ({cell.decided})" if share == cell.measured else "")
            shares = (f"{value / gsi:.2f}" for value in split)
            methods.add_row(*where, found, _told(gsi), _told(plain), f"{gsi / plain:.2f}", *shares)
        for rate in cell.rates:
            known = [value for value in (rate.memory, rate.arithmetic) if value is not None]
            most = [f"{value:.0f}" for value in known] or ["–", "–"]
            reached = f"{rate.tokens_per_second / min(known):.2f}" if known else "–"
            rates.add_row(*where, f"{cell.distinct:.3g}", rate.part, f"{rate.tokens_per_second:.0f}", *most, reached)
    return [parts, methods, rates]


def _told(seconds: float) -> str:
    return f"{seconds:.3g}" if seconds >= 0.1 else f"{seconds:.4f}"


_PARTS = {
    "draft": "draft",
    "then": "draft_after_base",
    "score": "score",
    "judge": "reward",
    "both": "judged",
    "base": "base",
    "its": "base_reward",
}
_SHARES = ("draft", "judge", "base")
_BOUNDS = ("memory", "arithmetic")
