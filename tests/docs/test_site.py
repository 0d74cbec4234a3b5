"""The site of `make docs`, as far as it can be told without building it: contents, links, completeness, the network."""

from __future__ import annotations

import ast
import builtins
import re
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path

import pytest

from evals.rows.row import StepRecord
from tests.docs.generated import ROOT
from tests.docs.offline import far, main

FRONT = ROOT / "docs" / "index.md"
SOURCES = ("docs/**/*.md", "*.md", "examples/*.ipynb", "gsi_node/pocket/MODEL_CARD.md")
PAGES = sorted({page for source in SOURCES for page in ROOT.glob(source)} - {FRONT})


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).with_suffix("").as_posix()


def contents(front: str, pages: list[str]) -> Counter[str]:
    """How often the front page's tables of contents name each page, and what else they name."""
    named: Counter[str] = Counter()
    for block in re.findall(r"```\{toctree\}\n(.*?)```", front, re.DOTALL):
        for line in block.splitlines():
            if line and not line.startswith(":"):
                entry = re.sub(r"^.*<(.+)>$", r"\1", line)
                place = entry.removeprefix("../") if entry.startswith("../") else f"docs/{entry}"
                named.update([page for page in pages if fnmatch(page, place)] or [place])
    return named


def test_every_page_stands_once_in_the_table_of_contents() -> None:
    """A page that fails here belongs into a toctree of docs/index.md."""
    pages = [name_of(page) for page in PAGES]
    assert contents(FRONT.read_text("utf-8"), pages) == Counter(pages)
    toctree, names = "```{toctree}\n:glob:\n\nmath\nHere <../README>\nd/*\nno\n```", ["docs/math", "README", "docs/d/1"]
    assert contents(toctree, names) == Counter([*names, "docs/no"])


def slugs(text: str) -> set[str]:
    """What a page's headings are linked by, as GitHub makes it and the site does."""
    heads = re.findall(r"^#{1,3} (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def broken(page: Path, text: str) -> Iterator[str]:
    """The links of a page that lead to no file of the tree, or to no heading of it."""
    prose = re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in slugs(text if file == page else file.read_text("utf-8"))):
            yield target


@pytest.mark.parametrize("page", [FRONT, *PAGES], ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    assert list(broken(page, page.read_text("utf-8"))) == []


def test_a_link_that_leads_nowhere_is_found() -> None:
    text = "# A head\n[a](math.md#no) [b](none.md) [c](#a-head) [d](math.md#7-speculative-decoding-of-tokens) [e](x:y)"
    assert list(broken(FRONT, text)) == ["math.md#no", "none.md", "math.md#7-speculative-decoding-of-tokens"]


def exceptions(*sources: str) -> set[str]:
    """The exception classes that these sources define, private ones too; whose base is an exception, ours or not."""
    bases = {
        node.name: {ast.unparse(base).rpartition(".")[2] for base in node.bases}
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef)
    }
    found = {base for above in bases.values() for base in above if base.endswith(("Error", "Exception"))}
    found |= {
        name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, BaseException)
    }
    while more := {name for name, above in bases.items() if above & found} - found:
        found |= more
    return found & bases.keys()


def test_every_exception_class_has_its_usual_cause() -> None:
    rows = re.findall(
        r"^\| `(\w+)`.*?\| (.+?) \|", (ROOT / "docs" / "troubleshooting.md").read_text("utf-8"), re.MULTILINE
    )
    files = (file for room in ("gsi_node", "evals", "graphs") for file in (ROOT / room).rglob("*.py"))
    there = exceptions(*(file.read_text("utf-8") for file in files))
    assert sorted(name for name, _ in rows) == sorted(there - {"GSIError"})
    assert {"InUse", "Ungraded", "TooLarge", "NotReal", "_Unchecked"} < there
    assert all(len(cause) > 15 for _, cause in rows)


def test_an_exception_class_of_any_base_is_found() -> None:
    one, other = "class A(Exception): ...", "class B(A): ...\nclass C(httpx.TimeoutException): ...\nclass D(int): ..."
    assert exceptions(one, other) == {"A", "B", "C"}


NAMES = (
    "draft base reward beta threshold log_prob log_ratio tilted_reward log_weight ess accept_prob fallback prefix step "
    "response score weights"
).split()


def test_the_glossary_has_the_names_of_the_field_and_of_a_record() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text("utf-8")
    kept_by_evals = {"text", "n_tokens"}  # what a row has beside the record
    wanted = {*NAMES, *StepRecord.model_fields} - kept_by_evals
    assert sorted(name for name in wanted if f"`{name}`" not in text) == []
    assert all(symbol in text for symbol in (r"$\tilde r$", r"$\ell$", r"$\bar w$", r"$\beta$", r"$\pi_B$"))


@pytest.mark.parametrize("room", ["gsi_node", "gsi_node.testing", "gsi_node.neural_jko"])
def test_the_reference_has_every_public_name_once(room: str) -> None:
    text = "\n".join(page.read_text("utf-8") for page in (ROOT / "docs" / "reference").glob("*.md"))
    named = re.findall(rf"^\.\. (?:auto|py:)\w+:: {re.escape(room)}\.(\w+)$", text, re.MULTILINE)
    assert sorted(named) == sorted(import_module(room).__all__)


LOCAL = '<link href="a.css"><script src="a.js"></script><a href="https://elsewhere.example">there</a><img src="data:,">'


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.html", '<script src="https://cdn.example/mathjax.js"></script>'),
        ("a.html", '<link rel="stylesheet" href="//cdn.example/a.css">'),
        ("a.html", '<img srcset="a.png 1x, https://cdn.example/b.png 2x">'),
        ("a.html", "<style>@import 'https://cdn.example/a.css';</style>"),
        ("a.html", '<p style="background: url(https://cdn.example/a.png)">'),
        ("a.html", "<script>import('https://cdn.example/a.js')</script>"),
        ("a.css", "@font-face { src: url('https://cdn.example/a.woff2') }"),
        ("a.js", 'import mermaid from "https://cdn.example/mermaid.mjs"'),
        ("a.svg", '<svg><image xlink:href="http://cdn.example/a.png"/></svg>'),
    ],
)
def test_what_a_page_would_fetch_is_found(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(LOCAL, "utf-8")
    assert far("index.html", LOCAL) == [] and main(tmp_path) == 0
    (tmp_path / name).write_text(text, "utf-8")
    assert len(far(name, text)) == 1 and main(tmp_path) == 1


def test_no_site_is_no_success(tmp_path: Path) -> None:
    assert main(tmp_path) == 1
