"""Several drafts as text: "A + B", by counts "A*3 + B*1"; options that are given again are joined so."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from gsi_node.host.options import Joined
from gsi_node.specs import load
from gsi_node.specs.load import load_part, split_drafts


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("pocket:draft", [("pocket:draft", None)]),
        ("hf:/models/a*3", [("hf:/models/a*3", None)]),  # a single spec stands as it is
        ("hf:/a + pocket:draft", [("hf:/a", None), ("pocket:draft", None)]),
        ("hf:/a?dtype=float32*3 + hf:/b*12", [("hf:/a?dtype=float32", 3), ("hf:/b", 12)]),
        ("hf:/a*2 + hf:/b", [("hf:/a", 2), ("hf:/b", None)]),
        ("hf:/a?system_prompt=Add 1 + 2.", [("hf:/a?system_prompt=Add 1 + 2.", None)]),
        (
            "server:http://A/v1#M | http://B/v1#M + hf:/b",
            [("server:http://A/v1#M | http://B/v1#M", None), ("hf:/b", None)],
        ),
    ],
)
def test_they_are_split_before_a_kind(text: str, parts: Any) -> None:
    assert split_drafts(text) == parts


def test_each_is_loaded_with_its_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "load_model", lambda spec: f"<{spec}>")
    assert load_part("draft", "hf:/a") == "<hf:/a>"
    assert load_part("draft", "hf:/a*3 + hf:/b") == [("<hf:/a>", 3), "<hf:/b>"]
    assert load_part("base", "hf:/a + hf:/b") == "<hf:/a + hf:/b>"  # a draft alone may be several


def test_an_option_given_again_is_joined() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--draft", action=Joined, default="pocket:draft")
    assert parser.parse_args([]).draft == "pocket:draft"
    assert parser.parse_args(["--draft", "pocket:draft"]).draft == "pocket:draft"
    assert parser.parse_args(["--draft", "hf:/a*3", "--draft", "hf:/b"]).draft == "hf:/a*3 + hf:/b"
