"""Each example is short, stands alone, and says what it shows; the one with servers runs against those of the tests."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.miniature import miniature_tokenizer
from tests.models.serving import MODEL, Bigram, Server

ROOT = Path(__file__).resolve().parents[2]
SAYS = {
    "in_a_workflow.py": "the answer is 144",
    "own_reward.py": "draft  r 0.",
    "own_model.py": r"So the answer is \boxed{4}.",
    "crash_and_resume.py": "same token ids: True",
    "without_langgraph.py": "gsi        answer 5",
    "two_servers.py": "steps, answer",
}
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def alone(file: Path, folder: Path) -> str:
    """What a copy of the example prints, in a folder of its own; a warning is an error, but for what its end closes."""
    copied = shutil.copy(file, folder)
    argv = [sys.executable, "-W", "error", "-W", "ignore::ResourceWarning", copied]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_every_example_is_run_and_short() -> None:
    assert [path.name for path in EXAMPLES] == sorted(SAYS)
    assert max(len(path.read_text("utf-8").splitlines()) for path in EXAMPLES) <= 40
    readme = (ROOT / "README.md").read_text("utf-8")
    assert all(f"examples/{name}" in readme for name in SAYS)


@pytest.mark.parametrize("name", [name for name in SAYS if name != "two_servers.py"])
def test_an_example_runs_alone(name: str, tmp_path: Path) -> None:
    assert SAYS[name] in alone(ROOT / "examples" / name, tmp_path)


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
        assert SAYS["two_servers.py"] in alone(tmp_path / "shorter.py", tmp_path / "run")
