"""A log-density that a command line names: package.module:function, or FILE.py:function."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor

from gsi_node.errors import ConfigError
from gsi_node.neural_jko.targets import OwnTarget

FORM = "want package.module:function or FILE.py:function"
MODULE = "density_file"  # the name of a FILE.py among the modules: its own may be another's


def named_density(text: str, dim: int) -> OwnTarget:
    """The function of that name as a target; modules are looked for in the working folder too, as `python -m` does.

    Raises ConfigError: no such module, file or function, or its code raises. What it returns is checked where a run
    begins (`identity.claim_of`).
    """
    place, _, name = text.rpartition(":")
    if not place or not name:
        raise ConfigError(f"density {text!r}: {FORM}")
    try:
        module = _of_file(Path(place)) if place.endswith(".py") else _of_name(place)
    except Exception as error:  # the user's own code runs here
        raise ConfigError(f"density {text}: {place} cannot be loaded: {_told(error)}; {FORM}") from error
    function = getattr(module, name, None)
    if not callable(function):
        what = "has no function" if function is None else f"has {type(function).__name__}, no function,"
        raise ConfigError(f"density {text}: {place} {what} {name}")
    return OwnTarget(_guarded(function, text, dim), dim, name)


def _of_name(name: str) -> ModuleType:
    _look_in(Path.cwd())
    return import_module(name)


def _of_file(path: Path) -> ModuleType:
    spec = spec_from_file_location(MODULE, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path}: no Python file")
    _look_in(path.resolve().parent)
    module = module_from_spec(spec)
    sys.modules[MODULE] = module
    spec.loader.exec_module(module)
    return module


def _look_in(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _guarded(function: Callable[[Tensor], Any], text: str, dim: int) -> Callable[[Tensor], Any]:
    def log_density(x: Tensor) -> Any:
        try:
            return function(x)
        except Exception as error:  # the user's own code runs here
            raise ConfigError(
                f"density {text}: raises {_told(error)} at points {tuple(x.shape)}, {x.dtype}; is --dim {dim} right?"
            ) from error

    return log_density


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
