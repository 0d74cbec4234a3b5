"""Prompt settings as a person gives them: in a spec, in a small file, or a part in each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gsi_node.errors import ConfigError
from gsi_node.host.paths import expanded
from gsi_node.host.strict_json import read_settings
from gsi_node.text.prompt import PromptSettings

FIELDS: Mapping[str, type] = {
    "system_prompt": str,
    "use_chat_template": bool,
    "template": str,
    "messages": list,
    "arguments": dict,
    "date": str,
}
"""Of PromptSettings, with their types in a file."""


def told_prompt(
    *,
    prompt: str | None = None,
    system_prompt: str | None = None,
    use_chat_template: bool | None = None,
    template: str | None = None,
    date: str | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> PromptSettings:
    """The settings that are given, and those of the file `prompt`. Raises ConfigError for what stands in both."""
    given = {
        "system_prompt": system_prompt,
        "use_chat_template": use_chat_template,
        "template": template,
        "date": date,
    }
    own: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    fields = {} if prompt is None else read_prompt(prompt)
    own["arguments"], in_file = dict(arguments or {}), fields.pop("arguments", {})
    if twice := ", ".join(sorted((fields.keys() & own.keys()) | (in_file.keys() & own["arguments"].keys()))):
        raise ConfigError(f"prompt file {prompt} and the spec both set {twice}; leave one of them out")
    own["arguments"] |= in_file
    return PromptSettings(**fields, **own)


def read_prompt(file: str) -> dict[str, Any]:
    """The fields of a prompt file (JSON, or TOML by its name): those of FIELDS. Raises ConfigError."""
    found = read_settings(expanded(file), f"prompt file {file}")
    if not isinstance(found, dict):
        raise ConfigError(f"prompt file {file}: want an object with {', '.join(FIELDS)}")
    for name, value in found.items():
        if name not in FIELDS or not isinstance(value, FIELDS[name]):
            wanted = ", ".join(f"{field} ({kind.__name__})" for field, kind in FIELDS.items())
            raise ConfigError(f"prompt file {file}: {name} = {value!r:.60}; the fields are {wanted}")
    try:
        json.dumps(found, allow_nan=False)
    except (TypeError, ValueError) as error:  # TOML has dates, infinities and NaN
        raise ConfigError(f"prompt file {file}: arguments: a value that is no JSON value: {error}") from error
    return found
