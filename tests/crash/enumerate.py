"""`python -m tests.crash.enumerate SYSTEM`: end a short run at each of its points, and see that it goes on regardless.

SYSTEM: solver, evals, train or jko. One process imports all; each life is a fork of it. --fate: kill (the default),
full, sigint, sigterm, size (a limit on the size of files). --points K: K points drawn by --seed; without it, every one.
Exit code 1 where a point was not survived.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.crash.points import FATES, Points

LIMIT = 120.0  # seconds of a life, on a machine that does other things too
KILLED = 137
SIGNALS = {"sigint": 130, "sigterm": 143}


@dataclass(frozen=True, slots=True)
class Life:
    """How one process ended: its exit code, what it said, the points that it passed."""

    code: int
    out: str
    errors: str
    points: list[str]


class System:
    """A command in a folder. command: runs it in this process, and returns its exit code. result: what it left."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._module = import_module(f"tests.crash.system_{name}")

    def command(self, folder: Path) -> int:
        return int(self._module.command(folder))

    def result(self, folder: Path, out: str) -> Any:
        return self._module.result(folder, out)

    def prepare(self, work: Path) -> None:
        """What the lives need, made once by a fork that may use threads and processes."""
        child = os.fork()
        if child == 0:
            code = 1
            try:
                self._module.prepare(work)
                code = 0
            finally:
                sys.stderr.flush()
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def live(system: System, folder: Path, at: int = 0, fate: str = "kill", size: int | None = None) -> Life:
    """One life of the command, in a fork of this process; its fate at a point. size: bytes that no file may exceed."""
    notes = Path(tempfile.mkdtemp(prefix="life-"))
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _child(system, folder, notes, Points(folder, at, fate), size)
    deadline = time.monotonic() + LIMIT
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise TimeoutError(f"{system.name}, {fate} at {at}: still there after {LIMIT} s")
        time.sleep(0.005)
    told = [
        (notes / name).read_text("utf-8") if (notes / name).exists() else "" for name in ("out", "errors", "points")
    ]
    shutil.rmtree(notes)
    return Life(os.waitstatus_to_exitcode(ended[1]), told[0], told[1], json.loads(told[2] or "[]"))


def _child(system: System, folder: Path, notes: Path, points: Points, size: int | None) -> None:
    """The life itself; it never returns."""
    code = 99
    try:
        for name, number in (("out", 1), ("errors", 2)):
            os.dup2(os.open(notes / name, os.O_WRONLY | os.O_CREAT), number)
        note = os.open(notes / "points", os.O_WRONLY | os.O_CREAT)
        points.install()
        if size is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        try:
            code = system.command(folder)
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        sys.stdout.flush()
        sys.stderr.flush()
        if size is None:
            os.write(note, json.dumps(points.seen).encode())
    except BaseException:  # noqa: BLE001 - as the interpreter would, and no further: this is a fork
        traceback.print_exc()
        sys.stderr.flush()
        code = 1
    finally:
        os._exit(code)


def survived(system: System, whole: Any, at: int, fate: str, folder: Path, size: int | None = None) -> str | None:
    """What is wrong with a run that met its fate and was begun again, or None."""
    life = live(system, folder, at, fate, size)
    wrong = _ending(life, fate)
    if wrong:
        return f"{wrong}\n{life.errors[-1500:]}"
    if life.code == 0 and system.result(folder, life.out) != whole:
        return f"exit code 0 without the whole result\n{life.out[-600:]}\n{life.errors[-500:]}"
    for turn in ("begun again", "asked once more"):
        again = live(system, folder)
        if again.code != 0:
            return f"{turn}: exit code {again.code}\n{again.errors[-1500:]}"
        if (found := system.result(folder, again.out)) != whole:
            return f"{turn}: another result\n{found!r:.600}\n{whole!r:.600}\n{again.errors[-500:]}"
    return None


def _ending(life: Life, fate: str) -> str | None:
    """What is wrong with how it ended at its fate: a run may also have ended before it, whole."""
    if life.code == 0:
        return None
    if "Traceback" in life.errors:
        return "a traceback"
    wanted = [KILLED] if fate == "kill" else [SIGNALS[fate]] if fate in SIGNALS else [1, 2]
    if life.code not in wanted:
        return f"exit code {life.code}, not {wanted[0]}"
    if fate != "kill" and not life.errors.strip():
        return "it says nothing"
    return None


def sizes(folder: Path) -> list[int]:
    """Limits between nothing and the largest file of a whole run: where a page ends, and within one."""
    largest = max(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return [step * 4096 + more for step in range(1, largest // 4096 + 1) for more in (0, 1000)]


def enumerate_points(system: System, fate: str, draw: int | None, seed: int) -> list[str]:
    """End a run at every point, or at some drawn by seed; what was not survived, a text each."""
    work = Path(tempfile.mkdtemp(prefix=f"crash-{system.name}-"))
    try:
        system.prepare(work)
        (work / "whole").mkdir()
        life = live(system, work / "whole", fate=fate if fate in FATES else "kill")
        assert life.code == 0, life.errors
        whole = system.result(work / "whole", life.out)
        places = sizes(work / "whole") if fate == "size" else list(range(1, len(life.points) + 1))
        chosen = places if draw is None or draw >= len(places) else sorted(random.Random(seed).sample(places, draw))
        faults = []
        for place in chosen:
            folder = work / f"at-{place}"
            folder.mkdir()
            at, size = (0, place) if fate == "size" else (place, None)
            wrong = survived(system, whole, at, fate if fate in FATES else "full", folder, size)
            if wrong is not None:
                what = "" if fate == "size" else f" ({life.points[place - 1]})"
                faults.append(f"{system.name}: {fate} at {place} of {places[-1]}{what}: {wrong}")
            shutil.rmtree(folder)
        sys.stdout.write(f"{system.name}, {fate}: {len(chosen)} of {len(places)} points, {len(faults)} not survived\n")
        return faults
    finally:
        shutil.rmtree(work)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.crash.enumerate", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("system", choices=["solver", "evals", "train", "jko"])
    parser.add_argument("--fate", choices=[*FATES, "size"], default="kill")
    parser.add_argument("--points", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    faults = enumerate_points(System(options.system), options.fate, options.points, options.seed)
    sys.stdout.write("".join(f"\n{fault}\n" for fault in faults))
    return 1 if faults else 0


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"  # a fork has one thread only
    sys.exit(main(sys.argv[1:]))
