"""Real vLLM servers on this machine's CPU, from an environment of their own (tests/vllm/requirements.txt)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

READY = 300.0  # seconds; two quiet cores take 30 to 90


class VLLMServer:
    """One server process and its children, in a process group of its own. url: without /v1."""

    def __init__(self, python: Path, folder: Path, name: str, log: Path, *options: str) -> None:
        self.name, self.folder, self.log = name, folder, log
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        # the module, not the `vllm` command: that one looks for a package of another name
        command = [str(python), "-m", "vllm.entrypoints.openai.api_server"]
        command += [
            "--model",
            str(folder),
            "--served-model-name",
            name,
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
        ]
        command += ["--max-model-len", "512", "--enforce-eager", "--block-size", "32", "--enable-prefix-caching"]
        command += ["--max-logprobs", "20", "--dtype", "float32", *options]
        settings = {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
        settings["VLLM_CPU_OMP_THREADS_BIND"] = f"0-{(os.cpu_count() or 2) - 1}"
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "OMP_"))}
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=subprocess.STDOUT, env={**kept, **settings}, start_new_session=True
            )

    def wait(self) -> Self:
        """Until it answers; RuntimeError with the end of its log where it dies or takes too long."""
        deadline = time.monotonic() + READY
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if httpx.get(f"{self.url}/health", timeout=2.0, trust_env=False).status_code == 200:
                    return self
            except httpx.TransportError:
                pass
            time.sleep(0.5)
        raise RuntimeError(f"vLLM did not start serving {self.folder}:\n{_tail(self.log)}")

    def kill(self) -> None:
        """kill -9, of the server and its workers."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Fleet:
    """Servers started side by side, killed together. Ready on entry."""

    def __init__(self, servers: Sequence[VLLMServer]) -> None:
        self.servers = servers

    def __enter__(self) -> Self:
        try:
            for server in self.servers:
                server.wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        for server in self.servers:
            server.kill()


def _tail(log: Path, lines: int = 30) -> str:
    return "\n".join(log.read_text("utf-8", "replace").splitlines()[-lines:])
