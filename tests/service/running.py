"""Services for tests: one in this process, and the real command in another; and requests as bytes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gsi_node.service.app import ModelService
from gsi_node.service.door import Door
from gsi_node.service.server import MAX_CONNECTIONS, in_thread
from tests import waiting

ROOT = Path(__file__).resolve().parents[2]
OPEN = Door(None)


@contextmanager
def running(*, door: Door = OPEN, most: int = MAX_CONNECTIONS, **parts: Any) -> Iterator[str]:
    """The address of a model's or reward's service in this process."""
    with in_thread(ModelService(**parts, door=door), most) as url:
        yield url


@dataclass
class Command:
    """A service in a process of its own."""

    process: subprocess.Popen[str]
    port: int
    said: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self, receive_buffer: int | None = None) -> socket.socket:
        client = socket.socket()
        if receive_buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(20.0)
        try:
            client.connect(("127.0.0.1", self.port))
        except OSError:
            client.close()
            raise
        return client

    def end(self, with_signal: int) -> tuple[int, float]:
        """Exit code after a signal, and the seconds it took."""
        started = time.monotonic()
        self.process.send_signal(with_signal)
        self.said += waiting.told(self.process)[1]
        return self.process.returncode, time.monotonic() - started


@contextmanager
def command(*arguments: str, code: str = "", key: str | None = None) -> Iterator[Command]:
    """`gsi serve` with these arguments, once it answers. code: runs before it, in its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = start(*arguments, "--port", str(port), code=code, key=key)
    try:
        found = Command(process, port)
        for _ in range(600):
            with suppress(ConnectionError):
                found.connect().close()
                break
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        yield found
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def start(*arguments: str, code: str = "", key: str | None = None) -> subprocess.Popen[str]:
    """The command, started. key: of its environment."""
    run = [sys.executable, "-m", "gsi_node.cli", "serve", *arguments]
    if code:
        run[1:3] = ["-c", f"{code}\nimport runpy; runpy.run_module('gsi_node.cli', run_name='__main__')"]
    environment = {name: value for name, value in os.environ.items() if name != "GSI_API_KEY"}
    if key is not None:
        environment["GSI_API_KEY"] = key
    return subprocess.Popen(
        run, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )


def ended(*arguments: str, code: str = "", key: str | None = None) -> tuple[int, str]:
    """Exit code and standard error of a command that ends by itself."""
    with start(*arguments, code=code, key=key) as process:
        _, said = process.communicate(timeout=60)
    return process.returncode, said


def request(path: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    """A POST as bytes. length: what its Content-Length says."""
    size = len(body) if length is None else length
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", f"Content-Length: {size}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def read_all(client: socket.socket) -> bytes:
    """Whatever comes until the other side ends, in good manners or not."""
    found = b""
    with suppress(ConnectionError):
        while chunk := client.recv(1 << 16):
            found += chunk
    return found
