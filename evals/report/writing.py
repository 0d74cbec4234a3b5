"""From a run's folder to its report: rows, arms, one summary, and every rendering of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from evals.report.about import about
from evals.report.arms import by_arm
from evals.report.beside import beside
from evals.report.document import PlotFiles, Report
from evals.report.page import page
from evals.report.summary import Summary, summarise
from evals.report.summary_json import plain
from evals.report.tables import tables
from evals.rows.lines import read_results
from evals.run.config import read_config
from evals.run.design import read_design
from gsi_node.errors import ConfigError
from gsi_node.host.strict_json import finite


def report(
    folder: Path,
    *,
    out: Path | None = None,
    reference: str | None = None,
    plots: bool = True,
    published: str | None = None,
    limit: int = 20_000_000,
) -> Path:
    """Write the report of a run's folder; returns where. published: a pair of published.json to lay beside it. limit:
    bytes of details in the page.

    Raises ConfigError where there is nothing to report on, or where it cannot be written.
    """
    draw = _drawer(plots)
    results, config = read_results(folder), read_config(folder)
    arms, superseded = by_arm(results.rows)
    summary = summarise(
        arms,
        superseded,
        reference=reference,
        data_seed=config.data_seed,
        design=read_design(folder),
        notes=results.notes,
    )
    out = folder / "report" if out is None else out
    try:
        out.mkdir(parents=True, exist_ok=True)
        told = json.dumps(finite(plain(summary)), indent=1, allow_nan=False)
        (out / "summary.json").write_text(told + "\n", "utf-8")
        found = Report(
            name=folder.resolve().name,
            config=config,
            about=about(config),
            arms=arms,
            summary=summary,
            tables={
                found.data: [*tables(found), *([] if published is None else [beside(published, found)])]
                for found in summary.sets
            },
            drawn=draw(summary, out / "plots"),
        )
        (out / "report.md").write_text(found.markdown(), "utf-8", "replace")
        (out / "report.html").write_text(page(found, limit), "utf-8", "replace")
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written ({error.strerror or error}); choose another --out") from error
    return out


def _drawer(plots: bool) -> Callable[[Summary, Path], list[PlotFiles]]:
    """What draws, imported before anything is written: without plots matplotlib is not needed."""
    if not plots:
        return lambda summary, folder: []
    from evals.report.drawing import draw

    return draw
