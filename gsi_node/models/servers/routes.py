"""Where requests go, checked before the first one: server addresses, the proxies of the environment, and the key."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit
from urllib.request import getproxies

import httpx

from gsi_node.errors import ConfigError, SpecError
from gsi_node.needs import install_extra


def route_to(url: str) -> tuple[str, str | None]:
    """The address http://HOST:PORT or https://HOST, without a last slash, and the proxy its requests take or None.

    A loopback or unspecified address (localhost, 127.0.0.2, 0.0.0.0, ::1) and what NO_PROXY names is reached directly,
    anything else as HTTP_PROXY, HTTPS_PROXY or ALL_PROXY say. Raises SpecError for what is no such address, ConfigError
    for a proxy that cannot be used.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        httpx.URL(url)
        (host or "").encode("idna")
    except (ValueError, httpx.InvalidURL):
        host = None
    if "@" in url or (host and (parts.query or parts.username or parts.password)):
        raise SpecError(f"server address of host {host}: give keys in the environment, never in the address")
    if not host or not url.isprintable() or " " in url or parts.scheme not in ("http", "https"):
        raise SpecError(f"server address {url[:200]!r} is no URL; write http://HOST:PORT or https://HOST")
    port = port or {"http": 80, "https": 443}[parts.scheme]
    direct = _is_here(host) or _is_excepted(host, port)
    return url.rstrip("/"), None if direct else _proxy(parts.scheme)


def key_in(variable: str) -> str:
    """The key in an environment variable, "" where it is not set. ConfigError, which does not show it, for one that no
    HTTP header can hold."""
    try:
        key = os.environ.get(variable, "")
    except ValueError:
        raise ConfigError(f"api_key_env={variable!r} names no environment variable") from None
    fault = None
    if key != key.strip():
        fault = "begins or ends with white space or a line break"
    elif any(ord(c) > 255 for c in key):
        fault = "holds a character outside of latin-1"
    elif any(ord(c) < 32 or 127 <= ord(c) < 160 for c in key):
        fault = "holds a line break or another control character"
    if fault is not None:
        raise ConfigError(f"the key in the environment variable {variable} {fault}, which no HTTP header can carry")
    return key


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """The IP address that a URL's host writes, in any form that the system's resolver reads; None for a name."""
    try:
        address = ip_address(host)
    except ValueError:
        try:
            return IPv4Address(socket.inet_aton(host))  # 127.1, 0x7f000001
        except (OSError, UnicodeError):
            return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_here(host: str) -> bool:
    name = host.rstrip(".").lower()
    address = _address(name)
    if address is None:
        return name == "localhost" or name.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def _is_excepted(host: str, port: int) -> bool:
    """Whether NO_PROXY names this host: *, a name (its subdomains too), .name, an address, a network; [v6], :port."""
    name, address = host.rstrip(".").lower(), _address(host)
    for pattern, only in _exceptions():
        if only not in (None, port):
            continue
        if pattern == "*":
            return True
        if address is None:
            suffix = pattern.removeprefix("*").strip(".")
            if suffix and (name == suffix or name.endswith("." + suffix)):
                return True
            continue
        try:
            if address in ip_network(pattern, strict=False):
                return True
        except ValueError:
            continue  # a name, which no address ends with
    return False


def _exceptions() -> Iterator[tuple[str, int | None]]:
    """The hosts of NO_PROXY, lower case and without brackets, each with its port."""
    for entry in getproxies().get("no", "").replace(",", " ").split():
        pattern, port = entry.lower().rpartition("://")[2], ""
        if pattern.startswith("["):
            pattern, _, port = pattern[1:].partition("]")
        elif pattern.count(":") == 1:
            pattern, _, port = pattern.partition(":")
        digits = port.removeprefix(":")
        yield pattern, int(digits) if digits.isdecimal() and len(digits) < 6 else None


def _proxy(scheme: str) -> str | None:
    """The proxy that the environment names for http or https."""
    found = getproxies()
    name, url = next(((name, found[name]) for name in (scheme, "all") if found.get(name)), ("", ""))
    if not url:
        return None
    variable = f"{name.upper()}_PROXY"
    url = url if "://" in url else f"http://{url}"
    try:
        proxy = httpx.Proxy(url)
        host, _ = urlsplit(url).hostname, urlsplit(url).port
    except (ValueError, httpx.InvalidURL):
        host = None
    if not host:
        raise ConfigError(
            f"the environment variable {variable} holds no proxy that can be used (it is not shown, it may hold a "
            "password): write http://HOST:PORT or socks5://HOST:PORT, or except the server: NO_PROXY=HOST"
        ) from None
    if proxy.url.scheme.startswith("socks") and find_spec("socksio") is None:
        raise ConfigError(
            f"the environment variable {variable} names a SOCKS proxy, which needs the extra socks: "
            f"{install_extra('socks')}; or except the server: NO_PROXY=HOST"
        )
    return url
