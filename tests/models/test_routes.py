"""Where requests go: what is loopback, what NO_PROXY excepts, which proxy is asked; decided before the first one."""

from __future__ import annotations

import json
import re
import socket
from typing import Any

import pytest

from gsi_node.errors import ConfigError, GSIError, SpecError
from gsi_node.models.servers.http import Transport
from gsi_node.models.servers.reach import Reach
from gsi_node.models.servers.routes import route_to
from gsi_node.needs import install_extra
from gsi_node.specs.load import load_model, load_reward
from tests.models.raw import Asked, RawServer, ask, transport_to

VARIABLES = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"]
PROXY = "http://proxy.example:3128"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxies but the test's."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize(
    "host",
    [
        *[
            "localhost",
            "localhost.",
            "LOCALHOST",
            "a.localhost",
            "127.0.0.1",
            "127.0.0.2",
            "127.255.255.254",
            "0.0.0.0",
        ],
        *["127.1", "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:127.3.2.1]"],
    ],
)
def test_this_machine_is_reached_directly(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", PROXY)
    assert route_to(f"http://{host}:8000/v1") == (f"http://{host}:8000/v1", None)


@pytest.mark.parametrize(
    "host", ["128.0.0.1", "10.0.0.1", "[::2]", "[fe80::1]", "localhost.example", "notlocalhost", "127.0.0.1.example"]
)
def test_other_machines_by_the_proxy(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", PROXY)
    assert route_to(f"https://{host}")[1] == PROXY
    monkeypatch.setenv("HTTP_PROXY", "other.example:80")
    assert route_to(f"http://{host}")[1] == "http://other.example:80"
    assert route_to(f"https://{host}")[1] == PROXY


@pytest.mark.parametrize(
    ("no_proxy", "excepted", "others"),
    [
        ("*", ["http://a.example", "http://10.0.0.1", "http://[fd00::1]"], []),
        ("gpu", ["http://gpu", "http://gpu:8000", "http://GPU.", "http://a.gpu"], ["http://gpu2", "http://mygpu"]),
        ("example.com", ["http://example.com", "http://a.example.com"], ["http://notexample.com", "http://example.co"]),
        (".example.com", ["http://example.com", "http://a.example.com"], ["http://aexample.com"]),
        ("*.example.com", ["http://a.b.example.com"], ["http://aexample.com"]),
        ("a, b c", ["http://a", "http://b", "http://c"], ["http://d"]),
        ("10.0.0.1", ["http://10.0.0.1:8000"], ["http://10.0.0.10", "http://110.0.0.1"]),
        ("10.0.0.0/8", ["http://10.255.1.2"], ["http://11.0.0.1", "http://[fd00::1]"]),
        ("fd00::1", ["http://[fd00::1]:8000", "http://[fd00:0:0::1]"], ["http://[fd00::2]"]),
        ("[fd00::1]", ["http://[fd00::1]:8000"], ["http://[fd00::2]"]),
        ("[fd00::1]:8000", ["http://[fd00::1]:8000"], ["http://[fd00::1]:8001", "http://[fd00::1]"]),
        ("fd00::/8", ["http://[fd12:3456::1]"], ["http://[fe80::1]", "http://10.0.0.1"]),
        ("gpu:8000", ["http://gpu:8000"], ["http://gpu:8001", "http://gpu"]),
        ("http://gpu", ["http://gpu:8000"], ["http://gpus"]),
        ("gpu:443", ["https://gpu"], ["http://gpu"]),
        ("gpu:" + "9" * 5000, ["http://gpu"], ["http://gpus"]),
        ("", [], ["http://gpu"]),
        (",, ,10.0.0/33,[,:::,1.2.3.4/x,.", [], ["http://gpu", "http://1.2.3.4", "http://[fd00::1]"]),
    ],
)
def test_forms_of_no_proxy(
    no_proxy: str, excepted: list[str], others: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert [url for url in excepted if route_to(url)[1] is not None] == []
    assert [url for url in others if route_to(url)[1] is None] == []


def test_each_replica_has_its_own_route(monkeypatch: pytest.MonkeyPatch) -> None:
    """One on this machine, asked directly; one behind the proxy, which sees its name and nothing of the other."""
    with RawServer(lambda asked: asked.say("proxy")) as proxy, RawServer(lambda asked: asked.say("here")) as here:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        transport = Transport([here.url, "http://far.example:8000"], Reach(deadline=20.0))

        async def both() -> set[str]:
            transport.replicas[0].outstanding += 1  # the next request goes to the other
            far = await transport.ask("/x", None, str, "a test")
            transport.replicas[0].outstanding -= 1
            transport.replicas[1].outstanding += 1
            return {far, await transport.ask("/x", None, str, "a test")}

        assert transport.wait(both()) == {"proxy", "here"}
        transport.close()
    assert [head.split("\r\n")[0] for head in proxy.heads] == ["GET http://far.example:8000/x HTTP/1.1"]
    assert len(here.heads) == 1


@pytest.mark.skipif(not socket.has_ipv6, reason="this system has no IPv6")
def test_an_ipv6_server_is_asked_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with RawServer(lambda asked: asked.say(asked.head.split("\r\n")[0]), host="::1") as server:
        assert ask(transport_to(server, seconds=20.0)) == "GET /x HTTP/1.1"


@pytest.mark.parametrize("kind", ["model", "judge", "remote"])
@pytest.mark.parametrize(
    "proxy",
    ["http://", "http://me:pass-word@:80", "ftp://a:1", "http://a:99999", "http://a:b", "socks9://a", "http://[::1"],
)
def test_a_broken_proxy_is_a_typed_error_that_shows_no_password(
    kind: str, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    specs = {"model": "server:http://far.example/v1#m", "judge": "judge:http://far.example/v1#m"}
    load: Any = load_model if kind == "model" else load_reward
    with pytest.raises(ConfigError, match="environment variable HTTP_PROXY holds no proxy") as raised:
        load(specs.get(kind, "remote:http://far.example"))
    assert "pass-word" not in str(raised.value) and raised.value.__suppress_context__
    assert route_to("http://127.0.0.1:1") == ("http://127.0.0.1:1", None)


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "SOCKS5"])
def test_a_socks_proxy_without_its_library_names_the_extra(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", f"{scheme}://127.0.0.1:1080")
    monkeypatch.setattr("gsi_node.models.servers.routes.find_spec", lambda name: None)
    told = re.escape(install_extra("socks"))
    with pytest.raises(ConfigError, match=rf"ALL_PROXY names a SOCKS proxy.*{told}; .*NO_PROXY"):
        load_model("server:http://far.example/v1#m")


@pytest.mark.parametrize(
    "url",
    [
        *["nonsense", "http://", "ftp://a", "http://a:99999", "http://a:b", "http://[::1", "http://a b", "//a"],
        *["http://" + "a" * 64, "http://a\x00b", "http://\ud800", "http://a\n", "http://a..b", "", "http:///v1"],
    ],
)
def test_an_address_that_is_none_is_refused_at_start(url: str) -> None:
    with pytest.raises(SpecError, match="is no URL; write http://HOST:PORT"):
        route_to(url)


@pytest.mark.parametrize(
    "url", ["http://me:pass-word@a", "me:pass-word@a", "http://:pass-word@/", "http://a?key=pass-word"]
)
def test_a_password_in_an_address_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(SpecError, match="keys in the environment, never in the address") as raised:
        route_to(url)
    assert "pass-word" not in str(raised.value)


def test_the_probe_and_every_other_request_use_the_key_of_the_spec(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """GSI_API_KEY belongs to another server; KEY_A is this one's."""
    from tests.miniature import miniature_tokenizer

    miniature_tokenizer().save_pretrained(tmp_path)
    monkeypatch.setenv("GSI_API_KEY", "of-another")
    monkeypatch.setenv("KEY_A", "of-this-one")

    def answer(asked: Asked) -> None:
        card = {"id": "m", "root": str(tmp_path)}
        asked.send(json.dumps({"data": [card], "tokens": []}).encode())

    with RawServer(answer) as server:
        for load, spec in (
            (load_model, f"server:{server.url}/v1#m?api_key_env=KEY_A&attempts=1"),
            (load_reward, f"remote:{server.url}?api_key_env=KEY_A&attempts=1"),
        ):
            with pytest.raises(GSIError):
                load(spec)
    paths = {head.split()[1] for head in server.heads}
    assert {"/v1/models", "/tokenize", "/health"} <= paths
    assert all("authorization: bearer of-this-one\r\n" in head.lower() for head in server.heads)
