"""Who may come in: hosts, web pages, keys, content types; and what the command refuses at its start."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from gsi_node.errors import ConfigError
from gsi_node.rewards.callables import CallableReward
from gsi_node.service.door import Door, host_name, read_key
from gsi_node.tables.models import TableModel
from tests.service.running import command, ended, running

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
                    assert answer.status_code == 401 and answer.headers["WWW-Authenticate"] == "Bearer"
                    assert set(answer.json()) == {"error"} and "sesame" not in answer.text
        assert post(url, Authorization="Bearer sesame").status_code == 200


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
