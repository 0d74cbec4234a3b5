"""The settings of a run, gathered from layers of fields (--config, --set …), and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gsi_node.errors import ConfigError, shown
from gsi_node.host.strict_json import read_settings
from gsi_node.step.config import GSIConfig

Layer = tuple[str, Mapping[str, Any]]  # where the fields come from, and the fields


def gathered(layers: Sequence[Layer]) -> dict[str, Any]:
    """The fields of named layers, a later one over an earlier. Raises ConfigError where one is no GSIConfig field."""
    fields: dict[str, Any] = {}
    for source, layer in layers:
        for name in layer:
            if name not in GSIConfig.model_fields:
                raise ConfigError(
                    f"{source}: no field {shown(name)}; the fields are {', '.join(GSIConfig.model_fields)}"
                )
        fields.update(layer)
    return fields


def validated(fields: Mapping[str, Any]) -> GSIConfig:
    """The configuration of some fields. Raises ConfigError, one line."""
    try:
        return GSIConfig.model_validate(dict(fields))
    except ValidationError as error:
        raise ConfigError(first_line(error)) from error


def first_line(error: ValidationError) -> str:
    """The first thing a validation found, as "field: what is allowed, got what was given"."""
    found = error.errors(include_url=False)[0]
    if found["type"] == "value_error":
        return found["msg"].removeprefix("Value error, ")
    field = ".".join(str(part) for part in found["loc"])
    return f"{field}: {found['msg'][0].lower()}{found['msg'][1:]}, got {shown(found['input'])}"


def read_fields(name: str) -> dict[str, Any]:
    """The table of fields in a JSON or TOML file."""
    values = read_settings(Path(name), f"--config {name}")
    if not isinstance(values, dict):
        raise ConfigError(f"--config {name}: want an object of GSIConfig fields, got {type(values).__name__}")
    for field, value in values.items():
        if isinstance(value, int) and value.bit_length() > 64:
            raise ConfigError(f"--config {name}: {field}: an integer of more than 64 bits")
    return values
