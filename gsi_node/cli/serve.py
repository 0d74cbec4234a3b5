"""Serve until interrupted: one model or one reward, whose client is remote:URL; or a
solver, for any client of OpenAI's API, or as a tool of the Model Context Protocol.

  gsi serve --model hf:/models/base --port 8100
  gsi serve --openai --draft hf:/models/draft --base hf:/models/base \\
      --reward prm:/models/prm --n 16 --port 8000
  gsi serve --mcp                       (started by an MCP client, over stdio)
  gsi serve --mcp --port 8200           (over HTTP, at /mcp)
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gsi_node.cli import serve_options
from gsi_node.errors import ConfigError
from gsi_node.host.shell import DONE, INTERRUPTED, loading, terminable
from gsi_node.needs import install_extra

if TYPE_CHECKING:
    from gsi_node.graph.compiled import CompiledWholeRun
    from gsi_node.service.base import Service
    from gsi_node.service.door import Door
    from gsi_node.service.endpoint import SolverService
    from gsi_node.service.mcp_http import ToolService

add_arguments = serve_options.add_arguments


def main(options: argparse.Namespace) -> int:
    """Serve what the command line names, until SIGTERM (143) or Ctrl-C (raises KeyboardInterrupt)."""
    serve_options.check(options)
    with terminable() as code:
        try:
            _serve_tool(options) if options.mcp and options.port is None else _serve(options)
        except KeyboardInterrupt:
            _end_within(2.0, code())
            if code() == INTERRUPTED:
                raise
            return code()
    return DONE


def _serve(options: argparse.Namespace) -> None:
    from gsi_node.service.door import Door, host_name, is_loopback, key_of, read_key
    from gsi_node.service.server import Server, listen

    key = read_key(os.environ, options.key_file)
    metrics_key = key_of(options.metrics_key_file, "--metrics-key-file") if options.metrics_key_file else None
    names = {name: host_name(f"[{name}]" if ":" in name else name) for name in (options.host, *options.allowed_host)}
    wrong = [name for name in options.allowed_host if names[name] is None]
    if wrong:
        raise ConfigError(f"--allowed-host {wrong[0]!r} is no host name or address (no scheme, no port)")
    sockets = listen(options.host, options.port)
    addresses = [socket.getsockname()[:2] for socket in sockets]
    if not all(is_loopback(address) for address, _ in addresses):
        if key is None and not options.insecure:
            raise ConfigError(
                f"--host {options.host} lets other machines in, and no key is set: set GSI_API_KEY or --key-file, "
                "or add --insecure"
            )
        risk = "WITHOUT a key (--insecure)" if key is None else "with a key, unencrypted: put a TLS proxy before it"
        sys.stderr.write(f"warning: other machines can reach this service, {risk}\n")
    door = Door(key, frozenset(name for name in names.values() if name is not None), metrics_key)
    solver = options.openai or options.mcp
    service = _solver(options, door) if solver else _one(options, door)
    path = "/mcp" if options.mcp else ""
    urls = " ".join(
        f"http://{f'[{address}]' if ':' in address else address}:{port}{path}" for address, port in addresses
    )

    def ready() -> None:
        what = serve_options.served(options)["name"] if solver else options.model or options.reward
        sys.stderr.write(f"serving {what}, listening on {urls}\n")
        sys.stderr.flush()

    patience, access_log = options.client_timeout, not options.no_access_log
    Server(service, patience=patience, ready=ready, access_log=access_log).run(sockets)


def _one(options: argparse.Namespace, door: Door) -> Service:
    from gsi_node.service.app import ModelService
    from gsi_node.specs.load import load_parts

    role, spec = ("base", options.model) if options.model else ("reward", options.reward)
    with loading():
        served = load_parts({role: spec})[role]
    part = {"model" if options.model else "reward": served}
    return ModelService(**part, door=door, patience=options.client_timeout)


def _solver(options: argparse.Namespace, door: Door) -> Service:
    from gsi_node.protocols import name_of
    from gsi_node.step.drafts import Drafts

    kind: type[SolverService | ToolService]
    if options.mcp:
        with _mcp():
            from gsi_node.service.mcp_http import ToolService as kind
    else:
        from gsi_node.service.endpoint import SolverService as kind
    graph, parts = _graph(options)
    return kind(
        graph,
        names=[name_of(model) for part in parts.values() for model in (Drafts.of(part).models)],
        door=door,
        patience=options.client_timeout,
        **serve_options.served(options),
    )


@contextmanager
def _mcp() -> Iterator[None]:
    """An import of what needs the package mcp."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("mcp", "mcp_types"):
            raise
        raise ConfigError(f"`gsi serve --mcp` needs the package mcp: {install_extra('mcp')}") from error


def _serve_tool(options: argparse.Namespace) -> None:
    with _mcp():
        from gsi_node.service.mcp_tool import tool_server
    graph, _ = _graph(options)
    sys.stderr.write("serving a solver as an MCP tool, listening on standard input\n")
    sys.stderr.flush()
    tool_server(graph).run("stdio")


def _graph(options: argparse.Namespace) -> tuple[CompiledWholeRun, dict[str, Any]]:
    """The solver that is served, and its models by role."""
    from gsi_node.cli.settings import settings
    from gsi_node.graph.build import compile_gsi
    from gsi_node.specs.load import load_parts

    arguments = serve_options.solver_of(options)
    config = settings(arguments)
    with loading():
        parts = load_parts({role: getattr(arguments, role) for role in sorted(config.rule.models)})
        return compile_gsi(**{"draft": None, "base": None, "reward": None, **parts}, config=config), parts


def _end_within(seconds: float, code: int) -> None:
    """A forward that looks at no flag must not keep the process: what it works on is already refused."""
    watchdog = threading.Timer(seconds, os._exit, (code,))
    watchdog.daemon = True
    watchdog.start()
