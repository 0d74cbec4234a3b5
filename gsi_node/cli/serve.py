"""Serve one model or one reward over HTTP until interrupted: remote:URL is its client."""

from __future__ import annotations

import argparse
import math
import os
import sys
import threading

from gsi_node.errors import ConfigError
from gsi_node.host.shell import DONE, INTERRUPTED, loading, terminable

_EPILOG = """environment:
  GSI_API_KEY  the key that every request must carry as a bearer token

exit codes:
  1 it failed under way; 2 the call must be changed; 130 interrupted; 143 terminated"""


def main(options: argparse.Namespace) -> int:
    """Serve what the command line names, until SIGTERM (143) or Ctrl-C (raises KeyboardInterrupt)."""
    with terminable() as code:
        try:
            _serve(options)
        except KeyboardInterrupt:
            _end_within(2.0, code())
            if code() == INTERRUPTED:
                raise
            return code()
    return DONE


def _serve(options: argparse.Namespace) -> None:
    from gsi_node.service.app import ModelService
    from gsi_node.service.door import Door, host_name, is_loopback, read_key
    from gsi_node.service.server import Server, listen
    from gsi_node.specs.load import load_model, load_reward

    key = read_key(os.environ)
    names = {name: host_name(f"[{name}]" if ":" in name else name) for name in (options.host, *options.allowed_host)}
    wrong = [name for name in options.allowed_host if names[name] is None]
    if wrong:
        raise ConfigError(f"--allowed-host {wrong[0]!r} is no host name or address (no scheme, no port)")
    sockets = listen(options.host, options.port)
    addresses = [socket.getsockname()[:2] for socket in sockets]
    if not all(is_loopback(address) for address, _ in addresses):
        if key is None and not options.insecure:
            raise ConfigError(
                f"--host {options.host} lets other machines in, and no key is set: set GSI_API_KEY, or add --insecure"
            )
        risk = "WITHOUT a key (--insecure)" if key is None else "with a key, unencrypted: put a TLS proxy before it"
        sys.stderr.write(f"warning: other machines can reach this service, {risk}\n")
    with loading():
        parts = {"model": load_model(options.model)} if options.model else {"reward": load_reward(options.reward)}
    door = Door(key, frozenset(name for name in names.values() if name is not None))
    urls = " ".join(f"http://{f'[{address}]' if ':' in address else address}:{port}" for address, port in addresses)

    def ready() -> None:
        sys.stderr.write(f"serving {options.model or options.reward} on {urls}\n")
        sys.stderr.flush()

    patience = options.client_timeout
    Server(ModelService(**parts, door=door, patience=patience), patience=patience, ready=ready).run(sockets)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is served, where, and to whom."""
    parser.epilog = _EPILOG
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--model", metavar="SPEC", help="a language model, e.g. pocket:base or hf:/models/base")
    what.add_argument("--reward", metavar="SPEC", help="a reward model, e.g. pocket or prm:/models/prm")
    parser.add_argument("--port", type=_port, required=True, help="0: any free one; it is printed")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name or address by which clients may call this service, besides --host and loopback; repeatable",
    )
    parser.add_argument("--insecure", action="store_true", help="let other machines in without a key")
    parser.add_argument(
        "--client-timeout",
        type=_seconds,
        default=30.0,
        metavar="SECONDS",
        help="that a client may take to send a request, to read its answer, or to ask again (default: 30)",
    )


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and int(text) < 1 << 16):
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is no port from 0 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is no number of seconds above 0, at most a day")
    return seconds


def _end_within(seconds: float, code: int) -> None:
    """A forward that looks at no flag must not keep the process: what it works on is already refused."""
    watchdog = threading.Timer(seconds, os._exit, (code,))
    watchdog.daemon = True
    watchdog.start()
