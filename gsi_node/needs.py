"""How what is missing is installed: the words of every error that names a package.

An extra is asked of what this package was installed from, which its environment remembers (PEP 610, direct_url.json): a
clone, a wheel, a repository, or, where nothing is remembered, a package index.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

NAME = "gsi-node"


def install(package: str) -> str:
    """The shell command that brings a package into this interpreter's environment."""
    return f"{_installer()} {shlex.quote(package)}"


def install_extra(extra: str) -> str:
    """The shell command that brings what an extra of this package names."""
    editable, source = _source(extra)
    return f"{_installer()} {'-e ' if editable else ''}{shlex.quote(source)}"


def _installer() -> str:
    """The pip of this interpreter; uv for an environment that has none, as uv makes them."""
    if find_spec("pip") is None:
        return f"uv pip install --python {shlex.quote(sys.executable)}"
    first = shutil.which("pip")
    if first is not None and Path(first).parent == Path(sys.executable).parent:
        return "pip install"
    return f"{shlex.quote(sys.executable)} -m pip install"


def _source(extra: str) -> tuple[bool, str]:
    """Whether it is to stay a folder that is worked in, and the package with an extra, as pip takes it."""
    from importlib.metadata import PackageNotFoundError, distribution  # slow to import

    clone = Path(__file__).parents[1]
    try:
        origin = json.loads(distribution(NAME).read_text("direct_url.json") or "{}")
    except PackageNotFoundError:  # imported from where it lies
        origin = {"url": clone.as_uri(), "dir_info": {"editable": True}} if (clone / "pyproject.toml").exists() else {}
    if (about := origin.get("dir_info")) is not None:
        return about.get("editable", False), f"{unquote(urlsplit(origin['url']).path)}[{extra}]"
    if (about := origin.get("vcs_info")) is not None:
        return False, f"{NAME}[{extra}] @ {about['vcs']}+{origin['url']}@{about['commit_id']}"
    return False, f"{NAME}[{extra}] @ {origin['url']}" if origin else f"{NAME}[{extra}]"
