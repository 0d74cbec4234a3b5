"""The grammar of specs: kind:target[@family][?key=value&…], several joined by "|", and the types of option values.

The options start at the last "?", the family at the last "@" unless "/" or ":" follows it. In option values %26, %7C
and their like stand for "&", "|" and so on.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from math import isfinite
from typing import Any
from urllib.parse import quote, unquote

from gsi_node.errors import ConfigError, SpecError
from gsi_node.host.strict_json import parsed

LONGEST = 1 << 16
"""Characters of a spec; what is longer belongs into a prompt file."""
_HALF = re.compile("[\ud800-\udfff]")  # of a character: also what Python makes of bytes that are no UTF-8
_ADDRESS = re.compile(r"https?://")
_FAMILY = re.compile(r"(.*)@([A-Za-z0-9][A-Za-z0-9_.+-]*)")


@dataclass(frozen=True, slots=True)
class Spec:
    """One parsed spec. `options` are still text: the kind's loader types them."""

    kind: str
    target: str = ""
    family: str | None = None
    options: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        target = f":{self.target}" if self.target else ""
        family = f"@{self.family}" if self.family else ""
        options = "&".join(f"{key}={quote(value, safe='/:,.=')}" for key, value in self.options)
        return f"{self.kind}{target}{family}" + (f"?{options}" if options else "")


def parse_spec(text: str) -> tuple[Spec, ...]:
    """The specs that `text` joins by "|", one or more; SpecError for what cannot be read."""
    given: Any = text
    if not isinstance(given, str):
        raise SpecError(f"a spec is a text, kind:target, and not a {type(given).__name__}: {quoted(given)}")
    if len(text) > LONGEST:
        raise SpecError(f"spec {quoted(text)} has {len(text)} characters, and may have {LONGEST}")
    if not text.strip():
        raise SpecError("the spec is empty; write kind:target, for instance pocket:draft")
    parts = [part.strip() for part in text.split("|")]
    kind = parts[0].partition(":")[0]  # replicas may be written as bare addresses: server:http://A/v1#M | http://B/v1#M
    return tuple(
        parse_one(f"{kind}:{part}" if i and _ADDRESS.match(part) else part, text) for i, part in enumerate(parts)
    )


def parse_one(part: str, whole: str) -> Spec:
    """One spec without "|"; `whole` is what it was cut from, for messages."""
    if not part:
        raise SpecError(f"spec {quoted(whole)} has nothing on one side of '|'")
    if half := _HALF.search(part):
        raise SpecError(
            f"spec {quoted(part)} holds {half[0]!r}, half of a character, which no request can hold; write it in "
            "UTF-8, and rename the file where it stands in a file's name"
        )
    body, mark, query = part.rpartition("?")
    if not mark:
        body, query = part, ""
    kind, _, target = body.partition(":")
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", kind):
        meant = f"did you mean hf:{part}?" if "/" in kind else "write kind:target, e.g. hf:/models/base"
        raise SpecError(f"spec {quoted(part)} starts with {quoted(kind)}, which is no kind; {meant}")
    family = None
    if found := _FAMILY.fullmatch(target):
        target, family = found.groups()
    options: dict[str, str] = {}
    for item in query.split("&") if query else ():
        key, equals, value = item.partition("=")
        if not key or not equals:
            raise SpecError(f"spec {quoted(part)}: option {quoted(item)} is not of the form key=value")
        if key in options:
            raise SpecError(f"spec {quoted(part)}: option {quoted(key)} is given twice")
        try:
            options[key] = unquote(value, errors="strict")
        except UnicodeDecodeError as error:
            raise SpecError(f"spec {quoted(part)}: option {quoted(item)} is no UTF-8 where it has %…") from error
    return Spec(kind, target, family, tuple(options.items()))


def quoted(text: object) -> str:
    """A part of a spec as it stands in an error: in quotes, escaped, at most 160 characters of it."""
    told = str(text)
    return repr(told if len(told) <= 160 else told[:160] + "…")


def text(value: str) -> str:
    """Any text."""
    if "\0" in value:  # no file's name and no prompt holds it
        raise ValueError("a text without \\0")
    return value


def name(value: str) -> str:
    """A text that is not empty."""
    if not value:
        raise ValueError("a text that is not empty; leave the option out for the default")
    return text(value)


def flag(value: str) -> bool:
    """true or false."""
    if value not in ("true", "false"):
        raise ValueError("true or false")
    return value == "true"


def unless_false(value: str) -> bool:
    """auto (where it can be) or false."""
    if value not in ("auto", "false"):
        raise ValueError("auto or false")
    return value == "auto"


def integer(value: str) -> int:
    """A whole number, of 64 bits."""
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", value):
        raise ValueError("a whole number of at most 18 digits")
    return int(value)


def positive(value: str) -> int:
    """A whole number ≥ 1."""
    if (found := integer(value)) < 1:
        raise ValueError("at least 1")
    return found


def number(value: str) -> float:
    """A decimal number."""
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?", value):
        raise ValueError("a number")
    found = float(value)
    if not isfinite(found):
        raise ValueError("a number of at most 1.8e308")
    return found


def numbers(value: str) -> list[float]:
    """Decimal numbers with commas between."""
    try:
        return [number(part) for part in value.split(",")]
    except ValueError as error:
        raise ValueError("numbers with commas between, such as 1,3") from error


def size(value: str) -> int:
    """Bytes, with an optional binary unit: 512M, 4G."""
    found = re.fullmatch(r"([0-9]{1,15})([KMG]?)", value)
    if not found:
        raise ValueError("a number of bytes such as 512M or 4G")
    return int(found[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[found[2]]


def json_value(value: str) -> object:
    """A value as JSON writes it."""
    try:
        return parsed(value, "")
    except ConfigError as error:
        raise ValueError(f"a JSON value; a text needs quotes: {json.dumps(value[:60], ensure_ascii=False)}") from error
