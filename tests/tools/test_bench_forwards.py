"""`gsi bench --forwards` compares a packed model with the same one as it is."""

from __future__ import annotations

import re

import pytest

from gsi_node.cli.__main__ import main
from gsi_node.engine import packing
from gsi_node.engine.packing import PackedLinear
from gsi_node.errors import SpecError
from gsi_node.specs.load import load_model
from gsi_node.tools import bench_forwards
from gsi_node.tools.bench_forwards import packed_layers, products_seconds


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "LEAST", 1)
    monkeypatch.setattr(bench_forwards, "PREFIXES", (32,))
    monkeypatch.setattr(bench_forwards, "TOKENS", 4)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.mark.usefixtures("_short")
def test_both_ways_are_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["bench", "--forwards", "--draft", "pocket:draft", "--n", "2,3", "--repeats", "2"]
    assert main(asked) == 0
    shown = capsys.readouterr().out
    assert re.findall(r"(draft|score)\W+32\W+(\d)", shown) == [(what, n) for n in "23" for what in ("draft", "score")]
    assert "0 of 15 candidates differ" in shown
    assert 0 <= float(re.search(r"by at most (\S+)\s+nats", shown)[1]) < 1e-4  # type: ignore[index]
    real = PackedLinear.forward
    monkeypatch.setattr(packing, "_agrees", lambda found, wanted: True)
    monkeypatch.setattr(PackedLinear, "forward", lambda self, x: real(self, x) * 1.5)
    assert main(asked) == 0
    assert "0 of 15 candidates differ" not in capsys.readouterr().out


@pytest.mark.usefixtures("_short")
def test_the_bound_counts_every_product() -> None:
    layers = packed_layers(load_model("pocket:base"))
    assert len(layers) == 4 * 4 + 1
    assert products_seconds(layers * 20, 64, 3) > 4 * products_seconds(layers, 64, 3)


def test_a_model_without_packed_layers_is_refused() -> None:
    with pytest.raises(SpecError, match="--draft pocket:draft: no layer of it is packed here"):
        main(["bench", "--forwards"])
