"""Fingerprints: a digest of what determines the numbers, and after it, by name, digests of its parts.

    9f86d081884c7d65…+tokenizer:2c26b46b68ffc68f+prompt:fcde2b2edba56bf4

Two that differ show by their names in what. Checkpoints and folders of earlier versions hold the first digest alone.
"""

from __future__ import annotations

import re
from hashlib import blake2b

_PART = re.compile(r"\+[a-z]+:[0-9a-f]{16}(?![0-9a-f])")


def fingerprint_of(first: str, **parts: object) -> str:
    """`first`, and a digest of the repr of each part behind its name."""
    return first + "".join(
        f"+{name}:{blake2b(repr(part).encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}"
        for name, part in parts.items()
    )


def same_fingerprint(kept: object, here: object) -> bool:
    """Whether a kept fingerprint is that of the model here, or was before its parts were told."""
    return kept == here or (isinstance(here, str) and kept == _PART.sub("", here))
