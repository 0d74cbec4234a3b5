"""A JSON object with its own checksum as the last field: a flipped bit anywhere in it is found when it is read.

    {"schema": 2, …, "checksum": "…"}      blake2b (8 bytes, hexadecimal) of every byte before the comma in front of it

Objects of schema 1 (before 2026-11-29) have none, and are read all the same; one of schema 2 without is damaged.
"""

from __future__ import annotations

import re
from hashlib import blake2b

from gsi_node.errors import ConfigError
from gsi_node.host.strict_json import parsed
from gsi_node.types import Plain

SCHEMA = 2
"""Of what is written. What SCHEMAS holds is read."""
SCHEMAS = (1, SCHEMA)
_SEAL = re.compile(rb'(,\n? ?"checksum": ")([0-9a-f]{16})("\n?\}\n)')
_LENGTH = 40  # bytes: no seal is longer


def sealed(body: bytes, *, lines: bool = False) -> bytes:
    """The bytes of a JSON object with its checksum, and a newline. lines: it is written with one field a line."""
    head = body.rstrip()[:-1].rstrip()
    open_, close = (b',\n "checksum": "', b'"\n}\n') if lines else (b', "checksum": "', b'"}\n')
    return head + open_ + _digest(head) + close


def unsealed(data: bytes, place: str, *, names: bool = True) -> tuple[Plain, bool]:
    """(the object without its checksum, whether it had one). names: as for `parsed`.

    Raises ConfigError where it is no object of a known schema, or not the one that was written.
    """
    cut = max(0, len(data) - _LENGTH)
    seal = _SEAL.search(data, cut)
    checked = seal is not None and seal.end() == len(data)
    if checked and seal is not None and seal.group(2) != _digest(data[: seal.start()]):
        raise ConfigError(f"{place}: damaged: its checksum is of other bytes")
    found = parsed(data, place, names=names)
    if not isinstance(found, dict):
        raise ConfigError(f"{place}: want a JSON object, got {type(found).__name__}")
    schema = found.get("schema")
    if type(schema) is not int or schema not in SCHEMAS:
        raise ConfigError(f"{place}: want schema {' or '.join(map(str, SCHEMAS))}, got {str(schema)[:40]}")
    if schema == SCHEMA and not checked:
        raise ConfigError(f"{place}: damaged: no checksum at its end")
    found.pop("checksum", None)
    return found, checked


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=8).hexdigest().encode()
