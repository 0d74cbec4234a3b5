r"""Matrices and vectors: \begin{pmatrix}…, an array in brackets, a factor in front, "^T" behind, a name before "="."""

from __future__ import annotations

import re

from evals.graders import notation

Rows = list[list[str]]

_GRID = r"(?:[pbB]?matrix|smallmatrix|array)"
_MATRIX = re.compile(
    rf"(?P<front>[^=,&]*?)(?P<opening>[(\[]?) ?\\begin ?\{{{_GRID}\}}(?:\{{[lcr| ]*\}})?"
    rf"(?P<inside>.*)\\end ?\{{{_GRID}\}} ?(?P<closing>[)\]]?)(?P<turned> ?\^ ?(?:T|\{{ ?T ?\}}))?",
    re.DOTALL,
)
_ROW = re.compile(r"\\\\(?: ?\[[0-9.a-z]*\])?|\\cr(?![a-zA-Z])")
_NAME = re.compile(r"(?:[A-Za-z]|\\vec ?\{? ?[A-Za-z] ?\}?)(?:\^ ?\{? ?-1 ?\}?)? ?")


def matrix(text: str) -> Rows | None:
    """The rows of a matrix or vector, whatever its brackets; None for another text or a determinant."""
    left, equals, right = text.partition("=")
    text = right.strip() if equals and _NAME.fullmatch(left) and "=" not in right else text.strip()
    match = _MATRIX.fullmatch(text)
    if match is None or r"\begin" in match["inside"] or bool(match["opening"]) != bool(match["closing"]):
        return None
    rows = [row.strip() for row in _ROW.split(match["inside"])]
    cells = [[cell.strip() for cell in row.split("&")] for row in rows if row]
    front = match["front"].strip()
    if front:
        cells = [[f"-({cell})" if front == "-" else f"({front})({cell})" for cell in row] for row in cells]
    if match["turned"] and len({len(row) for row in cells}) == 1:
        cells = [list(column) for column in zip(*cells, strict=True)]
    return cells or None


def vector(text: str, like: Rows) -> Rows | None:
    """A tuple "(1, 2, 3)" as the row or column that `like` is; None for another text, or where `like` is neither."""
    found = notation.bracketed(text)
    if found is None or (found[0], found[2]) != ("(", ")"):
        return None
    entries = notation.split(found[1], ",")
    if len(entries) < 2:
        return None
    if len(like) == 1:
        return [entries]
    return [[entry] for entry in entries] if all(len(row) == 1 for row in like) else None
