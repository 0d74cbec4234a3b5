"""python -m evals report runs/NAME: tables with intervals and paired tests, plots, and one page to read and browse.

Writes into runs/NAME/report (or --out): summary.json, report.md, plots/*.png and *.svg, report.html.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from evals.options import number
from evals.rows.lines import read_results
from evals.run.folder import read_config
from gsi_node.errors import ConfigError
from gsi_node.host.shell import complain
from gsi_node.host.strict_json import finite


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `report`."""
    parser.add_argument("folder", type=Path, help="a run's folder, as given to `evals run --out`")
    parser.add_argument("--out", type=Path, help="where to write (default: FOLDER/report)")
    parser.add_argument("--reference", metavar="METHOD", help="compare only with this method: a milder correction")
    parser.add_argument(
        "--page-megabytes", type=number, default=20.0, metavar="MB", help="details in report.html at most (default 20)"
    )
    parser.add_argument("--no-plots", action="store_true", help="tables, summary.json and a page without plots")


def main(options: argparse.Namespace) -> int:
    """0; 2 with one line where the folder holds nothing to report on."""
    try:
        out = report(
            options.folder,
            out=options.out,
            reference=options.reference,
            plots=not options.no_plots,
            limit=int(options.page_megabytes * 1e6),
        )
    except ConfigError as error:
        complain(str(error))
        return 2
    sys.stdout.write((out / "report.md").read_text("utf-8"))
    sys.stdout.write(f"\nWritten: {out}/summary.json, report.md, report.html, plots/\n")
    return 0


def report(
    folder: Path, *, out: Path | None = None, reference: str | None = None, plots: bool = True, limit: int = 20_000_000
) -> Path:
    """Write the report of a run's folder; returns where. Raises ConfigError where there is nothing to report on."""
    from evals.report.page import page
    from evals.report.plots import draw
    from evals.report.summary import summarise
    from evals.report.tables import markdown
    from evals.report.tally import by_setting

    results, config = read_results(folder), read_config(folder)
    rows = results.rows
    summary: dict[str, Any] = finite(summarise(rows, reference=reference, data_seed=config["data_seed"]))
    summary["notes"] += results.notes
    out = folder / "report" if out is None else out
    try:
        out.mkdir(parents=True, exist_ok=True)
        name = folder.resolve().name
        (out / "summary.json").write_text(json.dumps(summary, indent=1, allow_nan=False) + "\n", "utf-8")
        (out / "report.md").write_text(markdown(summary, name), "utf-8", "replace")
        drawn = draw(summary, out / "plots") if plots else []
        groups, _ = by_setting(rows)
        (out / "report.html").write_text(page(name, summary, drawn, groups, config, limit), "utf-8", "replace")
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written ({error.strerror or error}); choose another --out") from error
    return out
