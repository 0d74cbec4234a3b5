r"""Numbers with their base: 52_8, 52_{\text{eight}}, (52)_{8}, 52 \text{ (base 8)}."""

from __future__ import annotations

import re

from evals.graders import notation, spelled

_TEXT = re.compile(r"\\(?:text|mathrm|mbox|textrm|rm|operatorname)(?![a-zA-Z])")
_BASED = re.compile(r"([0-9A-F]+) ?(?:_ ?(?:base ?)?|(?:in )?base ?)([0-9]{1,2}|[a-z]+)", re.IGNORECASE)


def based(text: str) -> tuple[str, str] | None:
    """(digits, base) of a number with its base; None for another text."""
    plain = re.sub(r"[{}()]", " ", _TEXT.sub(" ", notation.value(text)))
    match = _BASED.fullmatch(" ".join(plain.split()).replace("_ ", "_"))
    if match is None:
        return None
    said = spelled.read(match[2])
    return match[1].upper(), match[2] if said is None else str(said)
