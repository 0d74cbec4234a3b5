"""Texts from outside, shown so that a terminal obeys none of their characters."""

from __future__ import annotations


def escaped(text: str, keep: str = "") -> str:
    r"""The text with control characters as escapes, such as \x1b; those in `keep` stay."""
    return "".join(c if c in keep or c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str) -> str:
    """A text on one line, control characters shown as escapes."""
    return escaped(" ".join(text.strip().splitlines()))
