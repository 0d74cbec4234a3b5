"""Each example is short, stands alone on public names, and says what it shows; the one with servers runs against those
of the tests, those with other clients in tests/plugs."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.examples.alone import ROOT, alone
from tests.miniature import miniature_tokenizer
from tests.models.serving import MODEL, Bigram, Server

SAYS = {
    "in_a_workflow.py": "the answer is 144",
    "own_reward.py": "draft  r 0.",
    "own_model.py": r"So the answer is \boxed{4}.",
    "crash_and_resume.py": "same token ids: True",
    "without_langgraph.py": "gsi        answer 5",
    "streaming.py": "tilt_and_accept → fallback → draft",
    "batch.py": "''                             problem: want a non-empty string",
}
ELSEWHERE = {"two_servers.py", "human_review.py", "evaluation.ipynb", "tool_in_an_agent.py", "supervisor.py"}
EXAMPLES = sorted((*(ROOT / "examples").glob("*.py"), *(ROOT / "examples").glob("*.ipynb")))
REFERENCE = "\n".join(page.read_text("utf-8") for page in (ROOT / "docs" / "reference").glob("*.md"))
PUBLIC = set(re.findall(r"^\.\. \S+:: (\S+)$", REFERENCE, re.MULTILINE))


def source(example: Path) -> str:
    """Its Python; of a notebook, that of its cells."""
    text = example.read_text("utf-8")
    if example.suffix == ".py":
        return text
    return "\n\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code")


def strangers(source: str) -> list[str]:
    """What it imports of ours that is not in the reference."""
    nodes = list(ast.walk(ast.parse(source)))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    ours = {name for name in names if name.partition(".")[0] in ("gsi_node", "evals", "graphs", "tests")}
    return sorted(ours - PUBLIC)


def test_every_example_is_run_listed_and_short() -> None:
    assert [path.name for path in EXAMPLES] == sorted({*SAYS, *ELSEWHERE})
    assert max(len(source(path).splitlines()) for path in EXAMPLES) <= 40
    page = (ROOT / "docs" / "examples.md").read_text("utf-8")
    assert all(f"(../examples/{path.name})" in page for path in EXAMPLES)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_imports_public_names(example: Path) -> None:
    assert strangers(source(example)) == []


def test_a_name_that_is_not_public_is_found() -> None:
    inner = "from gsi_node.core.rng import Stream\nimport gsi_node.step\nfrom evals.run.plan import Plan, digest\n"
    assert strangers(inner) == ["evals.run.plan.digest", "gsi_node.core.rng.Stream", "gsi_node.step"]


@pytest.mark.parametrize("name", SAYS)
def test_an_example_runs_alone(name: str, tmp_path: Path) -> None:
    assert SAYS[name] in alone(ROOT / "examples" / name, tmp_path)


def test_a_review_takes_what_is_typed(tmp_path: Path) -> None:
    """The draft is refused at its second step: it passes as it is; or a person writes it, and the base the next one."""
    review = ROOT / "examples" / "human_review.py"
    passed = alone(review, tmp_path, typed="ok\n" * 9)
    assert "refused at r̃ = -0.33: After giving away 57" in passed and "base " not in passed
    written = alone(review, tmp_path, typed="171 - 57 = 114, so 114 are left.\n" + "\n" * 9)
    assert "human 171 - 57 = 114, so 114 are left.\nbase " in written


def test_two_servers_are_two_strings(tmp_path: Path) -> None:
    """The example but for its addresses, with fewer and shorter steps on a problem that the tokenizer knows."""
    miniature_tokenizer().save_pretrained(tmp_path / "tokenizer")
    text = (ROOT / "examples" / "two_servers.py").read_text("utf-8")
    draft, base = (Bigram(len(miniature_tokenizer()), (6, 7, 8), spread=spread) for spread in (2.0, 2.05))
    folder = str(tmp_path / "tokenizer")
    with Server(draft, folder=folder) as one, Server(base, folder=folder) as two:
        for port, model, server in ((8001, "1.5B", one), (8002, "7B", two)):
            named = f"http://127.0.0.1:{port}/v1#Qwen/Qwen2.5-Math-{model}-Instruct"
            assert text.count(named) == 1
            text = text.replace(named, f"{server.url}/v1#{MODEL}")
        text = text.replace("(n=16,", "(n=2, max_steps=2, max_step_tokens=8,").replace("What is 12 * (7 + 5)?", "1+2")
        (tmp_path / "shorter.py").write_text(text, "utf-8")
        (tmp_path / "run").mkdir()
        assert "steps, answer" in alone(tmp_path / "shorter.py", tmp_path / "run")


def test_the_notebook_runs_from_its_first_cell_to_its_last(tmp_path: Path) -> None:
    notebook = Path(shutil.copy(ROOT / "examples" / "evaluation.ipynb", tmp_path))
    committed: Any = json.loads(notebook.read_text("utf-8"))["cells"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in committed if "outputs" in cell)
    jupyter_execute = "from nbclient.cli import main; main()"  # what that command is
    argv = [sys.executable, "-c", jupyter_execute, "--inplace", notebook.name]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    cells: Any = [cell for cell in json.loads(notebook.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert "12 rows, " in "".join(text for out in cells[1]["outputs"] for text in out.get("text", ()))
    page, picture = cells[-1]["outputs"]
    assert "sbon-draft" in "".join(page["data"]["text/markdown"]) and "image/svg+xml" in picture["data"]
