"""report.html: one file that opens without a network, with every plot inside and a browser of the problems.

What models wrote reaches the page as JSON in a data block, with `<`, `>` and `&` escaped, and the page's own script
sets it as text, its formulas as elements that KaTeX makes of them. The Content-Security-Policy allows these two scripts
by their hashes, images and styles from the page itself, and nothing else: no request leaves the page.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from hashlib import sha256
from html import escape
from pathlib import Path

from evals.report.details import Details, details
from evals.report.document import PlotFiles, Report

ASSETS = Path(__file__).parent / "assets"


def page(report: Report, limit: int) -> str:
    """The whole page. limit: bytes of details about rows; what does not fit is left out, and the page says so."""
    found = details(report.arms, limit)
    *scripts, style = ((ASSETS / name).read_text("utf-8") for name in ("katex/katex.min.js", "report.js", "report.css"))
    digests = " ".join(f"'sha256-{base64.b64encode(sha256(one.encode()).digest()).decode()}'" for one in scripts)
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {digests}"
    policy += "; base-uri 'none'; form-action 'none'"
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(report.name)}</title>\n<style>\n{style}</style>\n</head>",
            f"<body>\n<main>\n<h1>{escape(report.name)}</h1>",
            f'<p class="dim">{escape(_headline(report))}</p>',
            _WAYS,
            f'<div class="run">{report.about.html()}</div>',
            *(f'<p class="note">{escape(note)}</p>' for note in (*report.summary.notes, *found.notes)),
            *_results(report),
            '<h2 id="plots">Plots</h2>',
            f'<div class="figures">{"".join(map(_figure, report.drawn))}</div>',
            _BROWSER,
            '<h2 id="configuration">Configuration</h2>',
            f"<pre>{escape(json.dumps(report.config.told(), indent=2, ensure_ascii=False))}</pre>",
            "</main>",
            f'<script type="application/json" id="data">{data_block(found)}</script>',
            *(f"<script>{script}</script>" for script in scripts),
            "</body>\n</html>\n",
        ]
    )


_WAYS = """\
<nav><a href="#results">Results</a><a href="#plots">Plots</a><a href="#problems">Problems</a>
<a href="#configuration">Configuration</a></nav>"""
_BROWSER = """\
<h2 id="problems">Problems</h2>
<p class="dim">✓ right, ✗ wrong, ? ungraded, ! error; one mark a seed. Choose a mark to see the response's steps: what
was drafted, its reward r, log-ratio ℓ and tilted reward r̃, and whether it was accepted or the base fell back. The
arrow keys go to the problems before and behind. A response has an address of its own: #problem/method/n/seed.</p>
<noscript><p class="note">This part needs the page's own script.</p></noscript>
<div id="controls">
<input id="search" type="search" placeholder="search problems" aria-label="search problems">
<select id="show" aria-label="which problems">
<option value="all">all problems</option><option value="differ">some right, some wrong</option>
<option value="wrong">never right</option><option value="errors">with errors</option></select>
<span id="count" class="dim"></span>
</div>
<div id="browser"><div id="list"></div><div id="detail" aria-live="polite"></div></div>"""


def data_block(found: Details) -> str:
    """The details as JSON that cannot end the script element it stands in, nor open a comment."""
    text = json.dumps(found.data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _headline(report: Report) -> str:
    summary = report.summary
    methods = ", ".join(dict.fromkeys(one.arm.method for found in summary.sets for one in found.tallies))
    failed = f", {summary.errors} of them errors" if summary.errors else ""
    failed += f", {summary.ungraded} ungraded" if summary.ungraded else ""
    return f"{summary.rows} rows{failed}. Methods: {methods}. Brackets and bars are 95 % intervals."


def _results(report: Report) -> Iterable[str]:
    yield '<span id="results"></span>'
    for data, tables in report.tables.items():
        yield f"<h2>Results: {escape(data)}</h2>"
        yield from (table.html() for table in tables)


def _figure(drawn: PlotFiles) -> str:
    source = base64.b64encode(drawn.svg.read_bytes()).decode()
    wide = ' class="wide"' if drawn.wide else ""
    return (
        f'<figure{wide}><h3>{escape(drawn.title)}</h3><img alt="{escape(drawn.title)}" '
        f'src="data:image/svg+xml;base64,{source}"><figcaption>{escape(drawn.caption)}</figcaption></figure>\n'
    )
