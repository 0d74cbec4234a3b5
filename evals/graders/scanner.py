"""The pieces of a written expression: numbers, letters, commands and signs, and which of them are names."""

from __future__ import annotations

import re
from typing import NamedTuple

FUNCTIONS = frozenset(
    "sin cos tan cot sec csc arcsin arccos arctan arccot sinh cosh tanh coth arcsinh arccosh arctanh arsinh arcosh "
    "artanh ln log lg exp floor ceil abs sqrt gcd lcm max min".split()
)
TRIGONOMETRIC = frozenset("sin cos tan cot sec csc".split())
SYMBOLS = frozenset(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho varrho sigma tau "
    "upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Upsilon Phi Psi Omega hbar ell infty nabla "
    "partial emptyset mho odot oplus angle triangle aleph Re Im star prime dagger".split()
)
ACCENTS = frozenset(
    "dot ddot hat bar overline vec tilde widehat widetilde mathcal mathbb mathfrak overrightarrow".split()
)
TEXTS = frozenset("text mathrm mbox textrm textnormal operatorname rm".split())
_NAMES = (
    FUNCTIONS
    | {"pi", "infinity", "inf", "mod"}
    | (SYMBOLS - {"star", "prime", "Re", "Im", "partial", "angle", "triangle"})
)
_TOKEN = re.compile(
    r"(?P<space> +)"
    r"|(?P<number>(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{1,4}(?![0-9]))?|\.[0-9]+(?:[eE][+-]?[0-9]{1,4}(?![0-9]))?)"
    r"|(?P<word>[A-Za-z]+)"
    r"|(?P<command>\\(?:[A-Za-z]+|.))"
    r"|(?P<other>.)",
    re.DOTALL,
)


class Token(NamedTuple):
    """One piece of a text; gap: whether a space stands before it."""

    kind: str
    text: str
    gap: bool


def tokens(text: str) -> list[Token]:
    """The pieces of a normal text; runs of letters that name no function or constant come letter by letter."""
    out: list[Token] = []
    gap = False
    for match in _TOKEN.finditer(text):
        kind, piece = str(match.lastgroup), match[0]
        if kind == "space":
            gap = True
            continue
        if kind == "word":
            for part in _parts(piece):
                out.append(Token("command", "\\" + part, gap) if len(part) > 1 else Token("letter", part, gap))
                gap = False
            continue
        out.append(Token(kind, piece, gap))
        gap = False
    return out


def _parts(run: str) -> list[str]:
    if run in _NAMES:
        return [{"infinity": "infty", "inf": "infty"}.get(run, run)]
    for name in ("arcsin", "arccos", "arctan", "sqrt", "sin", "cos", "tan", "log", "exp", "ln", "pi"):
        if run.startswith(name) and len(run) - len(name) <= 2:
            return [name, *run[len(name) :]]
    return list(run)


def spelled(pieces: list[Token]) -> str:
    """A run of pieces in one spelling, without spaces, braces and fonts."""
    kept = [piece.text for piece in pieces if piece.text not in ("{", "}") and piece.text[1:] not in TEXTS]
    return "".join(kept)
