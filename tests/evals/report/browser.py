"""Chromium without a window, driven by its DevTools protocol over a pipe: a page is opened, looked at and clicked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from base64 import b64decode
from pathlib import Path
from typing import Any, Self

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --remote-debugging-pipe"
).split()


class Browser:
    """One tab. Commands go to the browser's file descriptor 3, answers come from its 4, each ended by a zero byte."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        (theirs, self._write), (self._read, ours) = os.pipe(), os.pipe()
        # the numbers 3 and 4 may be those of the pipes themselves, so the shell gives them
        command = f'exec "$0" "$@" 3<&{theirs} 4>&{ours}'
        argv = ["bash", "-c", command, CHROMIUM, *QUIET, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(argv, pass_fds=(theirs, ours), stderr=subprocess.DEVNULL)
        os.close(theirs)
        os.close(ours)
        self._buffer = b""
        self._count = 0
        self._session: str | None = None
        self.console: list[Any] = []
        """What the pages complained of: errors, warnings, and requests that their policy refused."""
        [tab] = [one for one in self.ask("Target.getTargets")["targetInfos"] if one["type"] == "page"]
        self._session = self.ask("Target.attachToTarget", targetId=tab["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._write)
        os.close(self._read)
        self._process.kill()
        self._process.wait()

    def ask(self, method: str, **params: object) -> Any:
        """The answer to a command of the protocol."""
        self._count += 1
        session = {} if self._session is None else {"sessionId": self._session}
        told = {"id": self._count, "method": method, "params": params, **session}
        os.write(self._write, json.dumps(told).encode() + b"\0")
        while (heard := self._hear()).get("id") != self._count:
            pass
        assert "error" not in heard, heard
        return heard["result"]

    def _hear(self) -> Any:
        while b"\0" not in self._buffer:
            read = os.read(self._read, 1 << 16)
            assert read, "Chromium ended"
            self._buffer += read
        line, _, self._buffer = self._buffer.partition(b"\0")
        heard = json.loads(line)
        if heard.get("method") in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
            self.console.append(heard["params"])
        return heard

    def screen(self, width: int, height: int = 900, *, dark: bool = False, touch: bool = False) -> None:
        """What kind of screen the page sees."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": touch}
        self.ask("Emulation.setDeviceMetricsOverride", **size)
        self.ask("Emulation.setTouchEmulationEnabled", enabled=touch)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, address: str) -> None:
        """Load a page, anew also where only the fragment differs."""
        self.ask("Page.navigate", url="about:blank")
        self.ask("Page.navigate", url=address)
        while self.run("document.readyState") != "complete" or self.run("location.href") == "about:blank":
            pass

    def run(self, script: str) -> Any:
        """The value of an expression, once two frames have been drawn."""
        frames = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        code = f"(async () => {{ const value = await ({script}); await {frames}; return value; }})()"
        told = self.ask("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def picture(self, file: Path, *, whole: bool = False) -> None:
        """A PNG of what is seen, or of the whole page."""
        file.write_bytes(b64decode(self.ask("Page.captureScreenshot", captureBeyondViewport=whole)["data"]))
