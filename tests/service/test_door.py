"""Who may come in: hosts, web pages, keys, content types; and what the command refuses at its start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from gsi_node.errors import ConfigError
from gsi_node.rewards.callables import CallableReward
from gsi_node.service.app import ModelService
from gsi_node.service.door import Door, host_name, read_key
from gsi_node.service.endpoint import SolverService
from gsi_node.specs.load import load_model
from gsi_node.tables.models import TableModel
from tests.graph.world import compiled
from tests.service.running import OPEN, command, ended, running
from tests.service.solvers import solver

MODEL: Any = TableModel({"a\n\n": 1.0})
TEXT = b'{"text":"a"}'
ROUTES = ("/sample", "/score", "/encode", "/decode", "/supports", "/health", "/reward", "/", "/nothing")


def post(url: str, **headers: str) -> httpx.Response:
    given = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return httpx.post(f"{url}/encode", content=TEXT, headers=given, trust_env=False)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "localhost.", "127.0.0.1:1", "127.9.9.9", "[::1]:8100"])
def test_loopback_hosts_are_served(host: str) -> None:
    with running(model=MODEL) as url:
        assert post(url, Host=host).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "evil@localhost", "10.0.0.5", "[::2]", "localhost:port", "", "*"]
)
def test_a_foreign_host_is_refused(host: str) -> None:
    """DNS rebinding: a page's own name, pointed at this machine."""
    with running(model=MODEL) as url:
        for answer in (post(url, Host=host), httpx.get(f"{url}/health", headers={"Host": host}, trust_env=False)):
            assert answer.status_code == 421
            assert answer.json()["error"]["message"].startswith(f"this service is not called {host!r}")
            assert "fingerprint" not in answer.text


def test_a_host_can_be_allowed() -> None:
    with running(model=MODEL, door=Door(None, frozenset({"gpu.example", "10.0.0.5"}))) as url:
        assert {post(url, Host=host).status_code for host in ("GPU.example:8100", "10.0.0.5")} == {200}
        assert post(url, Host="gpu.example.evil").status_code == 421


async def test_the_address_at_which_a_request_arrives_is_a_name_of_the_service() -> None:
    """So the probes of a cluster call it: by its pod's address, which nobody knows beforehand."""
    for service in (ModelService(model=MODEL, door=OPEN), SolverService(compiled(), name="gsi", names=[], door=OPEN)):
        arriving = httpx.ASGITransport(service.app)
        async with httpx.AsyncClient(transport=arriving, base_url="http://10.1.2.3:8000") as client:
            for host, status in (("10.1.2.3:8000", 200), ("10.1.2.4:8000", 421)):
                assert (await client.get("/health", headers={"Host": host})).status_code == status


def test_web_pages_are_not_answered() -> None:
    with running(model=MODEL) as url:
        assert post(url, Origin="http://localhost:3000").status_code == 403
        asked = httpx.options(f"{url}/encode", headers={"Access-Control-Request-Method": "POST"}, trust_env=False)
        assert asked.status_code == 405
        for answer in (post(url), asked):
            assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "", "application/json; charset=latin-1", "application/jsonp"],
)
def test_a_body_must_be_json(kind: str) -> None:
    """A browser sends the others to any site without asking it first."""
    with running(model=MODEL) as url:
        assert post(url, Content_Type=kind).status_code == 415
        assert post(url, Content_Type="Application/JSON; charset=UTF-8").status_code == 200
        assert post(url, Content_Encoding="gzip").status_code == 415


def test_every_route_needs_the_key_and_tells_nothing_without() -> None:
    with running(model=MODEL, door=Door("sesame")) as url, httpx.Client(base_url=url, trust_env=False) as client:
        for route in ROUTES:
            for method in ("GET", "POST"):
                for sent in ({}, {"Authorization": "Bearer sesam"}, {"Authorization": "sesame"}):
                    answer = client.request(method, route, headers=sent)
                    if (method, route, sent) == ("GET", "/health", {}):
                        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
                        continue
                    assert answer.status_code == 401 and answer.headers["WWW-Authenticate"] == "Bearer"
                    assert set(answer.json()) == {"error"} and "sesame" not in answer.text
        assert post(url, Authorization="Bearer sesame").status_code == 200


def test_a_probe_needs_no_key_and_learns_nothing() -> None:
    """But that the service answers; of a foreign host or a web page not even that."""
    door = Door("sesame", metrics_key="scrape")
    for service in (running(model=MODEL, door=door), solver(door=door)):
        with service as url, httpx.Client(base_url=url, trust_env=False) as client:
            assert client.get("/health").json() == {"status": "ok"}
            assert client.get("/health", headers={"Host": "evil.example"}).status_code == 421
            assert client.get("/health", headers={"Origin": "http://a"}).status_code == 403
            for token, status in (("scrape", 401), ("sesame", 200)):
                told = client.get("/health", headers={"Authorization": f"Bearer {token}"})
                assert told.status_code == status and ("waiting" in told.json()) == (status == 200)


@pytest.mark.parametrize("key", [None, "sesame"])
def test_metrics_have_a_key_of_their_own(key: str | None) -> None:
    with (
        running(model=MODEL, door=Door(key, metrics_key="scrape")) as url,
        httpx.Client(base_url=url, trust_env=False) as client,
    ):
        for token, status in ((None, 401), ("sesame", 401), ("scrape", 200)):
            sent = {} if token is None else {"Authorization": f"Bearer {token}"}
            assert client.get("/metrics", headers=sent).status_code == status
        assert "--metrics-key-file" in client.get("/metrics").json()["error"]["message"]
        of_metrics = client.get("/openapi.json", headers={"Authorization": "Bearer scrape"})
        assert of_metrics.status_code == (200 if key is None else 401)


def test_a_client_without_the_key_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GSI_API_KEY", raising=False)
    with running(model=MODEL, door=Door("sesame")) as url:
        with pytest.raises(ConfigError, match="it wants a key, and none was sent.*GSI_API_KEY"):
            load_model(f"remote:{url}")
        monkeypatch.setenv("GSI_API_KEY", "sesam")
        with pytest.raises(ConfigError, match="wants a key, or another one.*GSI_API_KEY"):
            load_model(f"remote:{url}")


@pytest.mark.parametrize("key", ["", " ", "two words", "line\nfeed", "schlüssel", "\x00"])
def test_a_key_that_no_header_carries_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match="GSI_API_KEY") as caught:
        read_key({"GSI_API_KEY": key})
    assert len(key) < 2 or key not in str(caught.value)
    assert read_key({}) is None and read_key({"GSI_API_KEY": "sk-1_=."}) == "sk-1_=."


def test_no_folder_is_told() -> None:
    def fails(prefix: Any, step: Any) -> Any:
        return "no number"

    step = {"text": "a", "token_ids": [], "finished": True}
    body = {"prefix": {"problem": "p", "steps": []}, "steps": [step]}
    for name in ("/home/someone/models/prm", "C:\\models\\prm", "/home/someone/models/prm/"):
        with running(reward=CallableReward(fails, range=(0, 1), name=name, fingerprint="f")) as url:
            body = {
                "prefix": {"problem": "p", "steps": []},
                "steps": [{"text": "a", "token_ids": [], "finished": True}],
            }
            found = httpx.get(f"{url}/health", trust_env=False)
            failed = httpx.post(f"{url}/reward", json=body, trust_env=False)
            assert found.json()["name"] == "prm"
            assert failed.status_code == 500 and "prm" in failed.json()["error"]["message"]
            assert "models" not in found.text + failed.text


@pytest.mark.parametrize(
    ("found", "name"),
    [
        ("A.example:80", "a.example"),
        ("[0:0::1]:80", "::1"),
        ("a:b:c", None),
        ("a/b", None),
        ("[zz]", None),
        (".", None),
        ("a:123456", None),
    ],
)
def test_names_of_hosts(found: str, name: str | None) -> None:
    assert host_name(found) == name


VERIFIER = ("--reward", "verifier", "--port", "0")


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_other_machines_are_not_let_in_without_a_key(host: str) -> None:
    code, said = ended(*VERIFIER, "--host", host)
    assert code == 2
    assert "GSI_API_KEY" in said and "--insecure" in said and said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "key", "risk"), [(("--insecure",), None, "WITHOUT a key"), ((), "sesame", "unencrypted")]
)
def test_letting_other_machines_in_is_warned_of(arguments: tuple[str, ...], key: str | None, risk: str) -> None:
    with command("--reward", "verifier", "--host", "0.0.0.0", *arguments, key=key) as service:
        sent = {} if key is None else {"Authorization": f"Bearer {key}"}
        assert httpx.get(f"{service.url}/health", headers=sent, trust_env=False).status_code == 200
        assert httpx.get(f"{service.url}/health", headers={"Host": "a.b"}, trust_env=False).status_code == 421
        service.end(15)
    assert service.said.startswith("warning: other machines can reach this service") and risk in service.said


def test_this_machine_alone_needs_no_warning() -> None:
    with command("--reward", "verifier", "--host", "localhost", "--allowed-host", "box.example") as service:
        assert httpx.get(f"{service.url}/health", headers={"Host": "box.example"}, trust_env=False).status_code == 200
        service.end(15)
    listening, asked = service.said.splitlines()
    assert listening.startswith("serving verifier, listening on http://127.0.0.1:")
    assert asked.endswith('"GET /health HTTP/1.1" 200')


@pytest.mark.parametrize("key", ["", "sk-secret\n", "sk-secret ü"])
def test_the_command_refuses_a_useless_key_and_shows_none(key: str) -> None:
    code, said = ended(*VERIFIER, key=key)
    assert code == 2 and said.startswith("error: GSI_API_KEY") and "secret" not in said and said.count("\n") == 1


def test_keys_of_files(tmp_path: Path) -> None:
    """As a container gets its secrets: a line break at their end is none of them."""
    files = {name: tmp_path / name for name in ("sesame", "scrape")}
    for name, file in files.items():
        file.write_text(f"{name}\n", "utf-8")
    given = ("--key-file", str(files["sesame"]), "--metrics-key-file", str(files["scrape"]))
    with command("--reward", "verifier", *given) as service:
        for path, opens in (("/openapi.json", "sesame"), ("/metrics", "scrape")):
            for name in files:
                sent = {"Authorization": f"Bearer {name}"}
                answer = httpx.get(f"{service.url}{path}", headers=sent, trust_env=False)
                assert answer.status_code == (200 if name == opens else 401)
        service.end(15)
    assert "sesame" not in service.said.replace(str(tmp_path), "") and "scrape" not in service.said


@pytest.mark.parametrize(
    ("option", "content", "key", "words"),
    [
        ("--key-file", b"sesame", "other", "--key-file and GSI_API_KEY give a key each"),
        ("--key-file", None, None, "--key-file {file}: No such file or directory"),
        ("--metrics-key-file", None, None, "--metrics-key-file {file}: No such file or directory"),
        ("--metrics-key-file", b"\n", None, "--metrics-key-file {file} is empty"),
        ("--metrics-key-file", b"two secrets", None, "--metrics-key-file {file} holds a space"),
        ("--key-file", b"\xff secret", None, "--key-file {file}: it is no text in UTF-8"),
    ],
)
def test_a_file_without_a_key_is_refused(
    tmp_path: Path, option: str, content: bytes | None, key: str | None, words: str
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    code, said = ended(*VERIFIER, option, str(file), key=key)
    assert code == 2 and said.startswith(f"error: {words.format(file=file)}") and "secret" not in said
