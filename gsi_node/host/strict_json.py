"""JSON that this package or a person wrote, read so that nothing odd gets through: errors name place and fault. And
values made ready to be written as JSON.

Python's own reader takes NaN and 1e999 (infinity), drops the first of two equal keys, and answers deep nesting
and numbers of 5000 digits with errors of other kinds.
"""

from __future__ import annotations

import json
import math
import tomllib
from pathlib import Path
from typing import Any

from gsi_node.errors import ConfigError


def parsed(data: bytes | str, place: str, *, names: bool = True) -> Any:
    """The value of one JSON text in UTF-8. names: refuse an object that has one name twice.

    Raises ConfigError that begins with `place` for anything else: other bytes, NaN and the infinities (1e999 is one),
    nesting beyond Python's recursion limit, integers of more than 4300 digits.
    """
    try:
        text = data.decode("utf-8") if isinstance(data, bytes) else data
        return json.loads(
            text,
            parse_constant=_no_number,
            parse_float=_float if names else None,
            object_pairs_hook=_once if names else None,
        )
    except UnicodeDecodeError as error:
        raise ConfigError(f"{place}: not UTF-8 text (byte {error.start})") from error
    except RecursionError as error:
        raise ConfigError(f"{place}: JSON nested too deeply") from error
    except json.JSONDecodeError as error:
        raise ConfigError(f"{place}: not JSON: {error}") from error
    except ValueError as error:
        told = str(error) if isinstance(error, _NotStrict) else "an integer of more than 4300 digits"
        raise ConfigError(f"{place}: {told}") from error


def read_settings(path: Path, place: str) -> Any:
    """The value in a file of settings: JSON, or TOML by its name. Raises ConfigError that begins with `place`."""
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{place}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{place}: not UTF-8 text (byte {error.start})") from error
    if path.suffix.lower() != ".toml":
        return parsed(text, place)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: not TOML, or an integer of more than 4300 digits
        raise ConfigError(f"{place}: not TOML: {error}") from error


def finite(value: Any) -> Any:
    """The value with null in place of NaN and the infinities, which JSON has not."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


class _NotStrict(ValueError):
    """What `parsed` refuses of itself."""


def _no_number(name: str) -> float:
    raise _NotStrict(f"{name} is no JSON number")


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise _NotStrict(f"the number {digits[:40]} is beyond the largest float")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _NotStrict(f"the name {twice[:60]!r} stands twice in one object")
    return found
