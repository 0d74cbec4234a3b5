"""The README's picture is what `make picture` draws."""

from __future__ import annotations

import re

import pytest

from tests.docs.picture import PICTURE, drawn, words

_DECIMAL = re.compile(r"([-+]?\d+\.\d+)")


def test_the_picture_says_what_gsi_solve_says_today() -> None:
    """Numbers may differ by the rounding of another processor."""
    there, here = (_DECIMAL.split(words(svg)) for svg in (PICTURE.read_text("utf-8"), drawn()))
    assert there[::2] == here[::2], "`make picture` draws it anew"
    assert [float(number) for number in there[1::2]] == pytest.approx([float(n) for n in here[1::2]], abs=0.02)
    assert "refused: r̃" in "".join(here)


def test_the_picture_fetches_nothing() -> None:
    addresses = set(re.findall(r"https?://[\w./]*", PICTURE.read_text("utf-8")))
    assert addresses == {"http://www.w3.org/2000/svg", "https://www.textualize.io"}, "the second stands in a comment"
