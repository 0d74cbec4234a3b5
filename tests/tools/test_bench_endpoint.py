"""`gsi bench --endpoint` prints what asking over HTTP adds."""

from __future__ import annotations

import re

import pytest

from gsi_node.cli.__main__ import main


def test_the_endpoint_costs_something_over_the_node(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--endpoint", "--repeats", "2"]) == 0
    said = capsys.readouterr().out
    node = float(re.findall(r"ainvoke +(?:│ +)?([\d.]+)", said)[0])
    over = [float(amount) for amount in re.findall(r"([+-][\d.]+) ms", said)]
    assert "20 steps" in said and 0 < node < 60_000 and len(over) == 2
