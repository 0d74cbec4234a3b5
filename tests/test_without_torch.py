"""Where nothing runs in process nothing needs torch: rooms import without it, and whole runs end where it is hidden."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gsi_node.models.servers.model import ServerModel
from gsi_node.rewards.verifier.reward import VerifierReward
from gsi_node.specs.load import load_model
from gsi_node.text.tokens import Tokens
from gsi_node.types import SamplingLaw
from tests.miniature import miniature_tokenizer
from tests.models.raw import RawServer, answered
from tests.models.serving import MODEL, Bigram, Server
from tests.rewards.family_models import build_family
from tests.rewards.pooling import PoolingServer
from tests.service.running import running

ROOT = Path(__file__).resolve().parents[1]
OTHER = os.environ.get("GSI_SERVERS_PYTHON")
LIGHT = (
    "gsi_node.models.servers.model",
    "gsi_node.models.servers.probe",
    "gsi_node.models.remote",
    "gsi_node.rewards.prm.served",
    "gsi_node.rewards.judge",
    "gsi_node.specs.load",
    "gsi_node.graph.build",
    "gsi_node.text.tokens",
    "gsi_node.graph.solver",
    "gsi_node.tools.doctor",
    "gsi_node.cli.solve",
    "gsi_node.cli.serve",
    "gsi_node.cli.doctor",
    "gsi_node.service.app",
    "graphs.math_solver",
)
NODE = """
import json, sys
from gsi_node import GSIConfig, compile_gsi, load_model, load_reward, solve
from gsi_node.cli.__main__ import main as gsi

draft, base, *rewards = sys.argv[1:]
models = {"draft": load_model(draft), "base": load_model(base)}
config = GSIConfig(n=2, max_step_tokens=8, max_steps=2, temperature=1.0)
for spec in rewards:
    out = compile_gsi(**models, reward=load_reward(spec), config=config).invoke({"problem": "1+2"})
    print(json.dumps([out["stop_reason"], len(out["steps"]), "torch" in sys.modules]))
from gsi_node.step.context import Models
assert solve("1+2", Models(**models, reward=load_reward(rewards[0])), config).steps
examined = ["--draft", draft, "--base", base, "--reward", rewards[0], "--problem", "1+2", "--set", "temperature=1"]
sys.exit(gsi(["doctor", *examined]))
"""


def test_rooms_that_run_nothing_in_process_load_no_torch() -> None:
    code = "import sys; from importlib import import_module as load\n" + "".join(
        f"load({module!r}); print({module!r}, [name for name in ('torch', 'transformers') if name in sys.modules])\n"
        for module in LIGHT
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"{module} []" for module in LIGHT]


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Specs of two model servers, of our own service around one of them and around the verifier, of a PRM server and of
    a judge. The tokenizers are read from folders, chat templates among them."""
    root = tmp_path_factory.mktemp("served")
    folder = root / "tokenizer"
    miniature_tokenizer().save_pretrained(folder)
    tokens = Tokens.of_folder(str(folder), "test")
    assert tokens.format.chat is not None  # there is a chat template
    draft, base = (
        Bigram(tokens.size, tokens.step_ends(SamplingLaw()).sure_ids, seed=1, spread=spread) for spread in (2.0, 2.05)
    )
    with ExitStack() as stack:
        urls = [stack.enter_context(Server(model, folder=str(folder))).url for model in (draft, base)]
        specs = dict(zip(("draft", "base"), (f"server:{url}/v1#{MODEL}" for url in urls), strict=True))
        inner = load_model(specs["base"])
        assert isinstance(inner, ServerModel)
        stack.enter_context(inner)
        specs["remote base"] = "remote:" + stack.enter_context(running(model=inner))
        specs["remote reward"] = "remote:" + stack.enter_context(running(reward=VerifierReward()))
        prm = stack.enter_context(PoolingServer())
        specs["prm"] = f"server:{prm.url}#prm@trl-chat?tokenizer={build_family(root / 'families', 'trl-chat')}"
        judge = stack.enter_context(RawServer(lambda asked: asked.say(answered(asked))))
        specs["judge"] = f"judge:{judge.url}/v1#m"
        yield specs


def without_torch(*program: str) -> subprocess.CompletedProcess[str]:
    """A program run where torch is hidden; or by an interpreter that has none, as `make test-servers` names one."""
    command = [OTHER, *program] if OTHER else [sys.executable, "-m", "tests.without_torch", *program]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)


def test_the_solver_runs_over_servers(specs: dict[str, str]) -> None:
    settings = ["--set", "n=2", "--set", "max_step_tokens=8", "--set", "max_steps=2", "--set", "temperature=1"]
    models = ["--draft", specs["draft"], "--base", specs["base"], "--reward", "verifier"]
    done = without_torch("graphs/math_solver.py", *models, *settings, "--json", "1+2")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"]


def test_node_and_doctor_run_over_servers_our_service_and_served_rewards(specs: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "node.py").write_text(NODE, "utf-8")
    rewards = ["verifier", specs["remote reward"], specs["prm"], specs["judge"]]
    done = without_torch(str(tmp_path / "node.py"), specs["draft"], specs["remote base"], *rewards)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()[:4]]
    assert [torch for _, _, torch in found] == [False] * 4
    assert all(reason and steps for reason, steps, _ in found)


def test_a_model_in_process_says_what_to_install() -> None:
    done = without_torch("graphs/math_solver.py", "--draft", "pocket:draft", "--base", "pocket:draft", "1+2")
    assert done.returncode == 2
    told = r"model spec 'pocket:draft' runs in this process, which needs torch: .*pip install .*torch "
    assert re.search(told, done.stderr)


GSI = str(ROOT / "gsi_node" / "cli" / "__main__.py")


@pytest.mark.parametrize("command", ["bench", "convert"])
def test_a_command_that_runs_models_in_process_says_so(command: str, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    options = {"bench": ["--engines"], "convert": [str(tmp_path / "m.gguf"), str(tmp_path / "new")]}
    done = without_torch(GSI, command, *options[command])
    assert (done.returncode, done.stdout) == (2, "")
    told = done.stderr.splitlines()[-1]  # transformers may have said before that there is no PyTorch
    assert re.fullmatch(f"error: `gsi {command}` needs the package torch: .*pip install .*torch", told)


def test_bench_counts_what_a_method_does_over_servers(specs: dict[str, str]) -> None:
    models = ["--draft", specs["draft"], "--base", specs["base"], "--reward", "verifier", "--set", "temperature=1"]
    done = without_torch(GSI, "bench", *models, "--n", "2", "--problems", "1")
    assert done.returncode == 0, done.stderr
    assert "on 1 problems" in done.stdout
