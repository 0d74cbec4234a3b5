"""The locks: what they hold, and that they agree with the constraints; an audit that asked nobody; SECURITY.md."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
ENTRY = re.compile(r"([\w.-]+)==([\w.+]+)")


def name_of(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def locked(name: str) -> dict[str, tuple[str, int]]:
    """Version and number of hashes of every package of a lock."""
    found: dict[str, tuple[str, int]] = {}
    at = ""
    for line in (ROOT / "locks" / name).read_text("utf-8").splitlines():
        if entry := ENTRY.match(line):
            at = name_of(entry[1])
            assert at not in found
            found[at] = entry[2], 0
        else:
            assert re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line), line
            found[at] = found[at][0], found[at][1] + 1
    return found


LOCKS = {name: locked(name) for name in ("build.lock", "packages.lock", "torch.lock", "servers.lock")}
PINS = {
    name_of(entry[1]): entry[2]
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    if (entry := ENTRY.match(line))
}


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_of_a_lock_has_hashes_and_the_version_of_the_constraints(name: str) -> None:
    assert all(hashes > 0 for _, hashes in LOCKS[name].values())
    assert {package: v for package, (v, _) in LOCKS[name].items() if PINS.get(package, v) != v} == {}
    text = (ROOT / "locks" / name).read_text("utf-8")
    assert "://" not in text and "--index" not in text and "--find-links" not in text


BY_TORCH = {"networkx", "sympy", "mpmath", "setuptools"}  # of some of torch's builds alone


def test_the_locks_hold_every_constraint() -> None:
    assert set(PINS) - set(LOCKS["packages.lock"]) - set(LOCKS["torch.lock"]) == set()


def test_the_locks_hold_every_dependency() -> None:
    """Of the project, its extras that make up `dev`, and its build; torch is in its own lock alone."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    extras = project["project"]["optional-dependencies"]
    wanted = [
        *project["project"]["dependencies"],
        *(item for name in extras if name != "evals" for item in extras[name]),
    ]
    names = {name_of(re.split(r"[\s<>=!~\[;]", item)[0]) for item in wanted} - {"gsi-node"}
    assert names - set(LOCKS["packages.lock"]) == {"torch"} and "torch" in LOCKS["torch.lock"]
    assert {name_of(item.partition(">")[0]) for item in project["build-system"]["requires"]} <= set(LOCKS["build.lock"])


def required(package: str, extras: Iterable[str]) -> Iterator[Requirement]:
    """What a package needs here: this one by pyproject.toml, the others as they are installed."""
    if package == "gsi-node":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
        groups = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in extras)]
        yield from (Requirement(item) for group in groups for item in group)
        return
    for each in map(Requirement, distribution(package).requires or ()):
        if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield each


def needed(package: str, *extras: str) -> set[str]:
    """A package and all that it needs here."""
    todo, seen = [(package, frozenset(extras))], set()
    while todo:
        name, extra = todo.pop()
        if (name, extra) not in seen:
            seen.add((name, extra))
            todo += [(name_of(other.name), frozenset(other.extras)) for other in required(name, extra)]
    return {name for name, _ in seen}


def test_the_lock_without_torch_holds_the_rest_of_the_wheels_dependencies() -> None:
    """What no marker of another system asks for is what is needed here, less torch and what torch alone brings."""
    direct = {name_of(item.name) for item in required("gsi-node", ())}
    rest = set[str]().union(*(needed(name) for name in direct - {"torch"}))
    assert direct - set(LOCKS["servers.lock"]) == {"torch"}
    assert rest - set(LOCKS["servers.lock"]) == set()
    foreign = {"colorama", "httpx2-jsfetch"}  # of Windows and of the browser
    assert set(LOCKS["servers.lock"]) - rest == foreign


def test_the_constraints_name_every_release_that_is_needed_here_and_no_other() -> None:
    """So no dependency of a dependency floats."""
    found = needed("gsi-node", "dev")
    assert found - set(PINS) - set(LOCKS["torch.lock"]) == {"gsi-node"}
    assert set(PINS) - found - BY_TORCH == set()


def audited(report: Path) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "locks/audit.py", str(report)], cwd=ROOT, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("packages", "code", "words"),
    [
        ([{"name": "a", "version": "1", "vulns": []}], 0, "1 of 1 packages looked up, 0 known"),
        (
            [{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "not found"}],
            1,
            "NOT audited: 1 pa",
        ),
        ([{"name": "a", "version": "1", "vulns": [{"id": "X-1", "fix_versions": ["2"]}]}], 1, "a 1: X-1, mended in 2"),
        ([], 1, "NOT audited"),
    ],
)
def test_an_audit_that_asked_nobody_says_so(tmp_path: Path, packages: Any, code: int, words: str) -> None:
    """pip-audit itself ends with "No known vulnerabilities found" where it could look up none."""
    (tmp_path / "audit.json").write_text(json.dumps({"dependencies": packages}), "utf-8")
    found, said = audited(tmp_path / "audit.json")
    assert found == code and words in said


def test_an_audit_without_a_report_says_so(tmp_path: Path) -> None:
    assert audited(tmp_path / "none.json") == (1, "NOT audited: pip-audit wrote no report; what it says is above\n")


def test_make_locked_installs_by_hash_and_without_dependencies(tmp_path: Path) -> None:
    told = subprocess.run(
        ["make", "--dry-run", "locked", f"VENV={tmp_path / 'env'}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    installs = [line.partition(" pip install ")[2] for line in told.stdout.splitlines() if " pip install " in line]
    assert len(installs) == 4 and all("--no-deps" in line for line in installs)
    assert ["--require-hashes" in line for line in installs] == [True, True, True, False]
    assert installs[-1].endswith("--editable .")


@pytest.mark.parametrize("target", ["solve", "evals", "test"])
def test_make_shows_what_it_installs(target: str, tmp_path: Path) -> None:
    argv = ["make", "--no-print-directory", "--dry-run", target, f"VENV={tmp_path / 'env'}"]
    lines = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    (install,) = (line for line in lines if " pip install " in line)
    assert "--quiet" not in install and "docs/install.md" in lines[0]


def test_what_security_md_rests_on_exists() -> None:
    named = re.findall(r"`(tests/[\w/.]+)`", (ROOT / "SECURITY.md").read_text("utf-8"))
    assert named and [path for path in named if not (ROOT / path).exists()] == []
