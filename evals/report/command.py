"""python -m evals report runs/NAME: tables with intervals and paired tests, plots, and one page to read and browse.

Writes into runs/NAME/report (or --out): summary.json, report.md, plots/*.png, *.svg and *.pdf, report.html.
"""

from __future__ import annotations

import argparse
import sys

from evals.options import number
from evals.report.published import PAIRS
from gsi_node.errors import ConfigError
from gsi_node.host.options import named_path
from gsi_node.host.shell import complain


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `report`."""
    parser.add_argument("folder", type=named_path, help="a run's folder, as given to `evals run --out`")
    parser.add_argument("--out", type=named_path, help="where to write (default: FOLDER/report)")
    parser.add_argument("--reference", metavar="METHOD", help="compare only with this method: a milder correction")
    parser.add_argument(
        "--page-megabytes", type=number, default=20.0, metavar="MB", help="details in report.html at most (default 20)"
    )
    parser.add_argument("--published", choices=PAIRS, help="lay the published figures of these models beside the run")
    parser.add_argument("--no-plots", action="store_true", help="tables, summary.json and a page without plots")


def main(options: argparse.Namespace) -> int:
    """0; 2 with one line where the folder holds nothing to report on."""
    from evals.report.writing import report  # with scipy and statsmodels, which --help does without

    try:
        out = report(
            options.folder,
            out=options.out,
            reference=options.reference,
            plots=not options.no_plots,
            published=options.published,
            limit=int(options.page_megabytes * 1e6),
        )
    except ConfigError as error:
        complain(str(error))
        return 2
    sys.stdout.write((out / "report.md").read_text("utf-8"))
    plots = "" if options.no_plots else ", plots/ (PNG, SVG, PDF)"
    told = f"Open {out}/report.html in a browser. Beside it: report.md, which stands above, summary.json{plots}"
    sys.stdout.write(f"\n{told}\n")
    return 0
