"""`gsi bench --endpoint` prints what asking over HTTP adds."""

from __future__ import annotations

import re

import pytest

from gsi_node.cli.__main__ import main


def test_the_endpoint_costs_something_over_the_node(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--endpoint", "--repeats", "2"]) == 0
    said = capsys.readouterr().out
    rows = [[float(number) for number in re.findall(r"[+-]?\d+\.\d", line)] for line in said.splitlines()]
    node, whole, stream = (row for row in rows if row)
    assert "20 steps" in said and len(node) == 2 and min(node) > 0
    for wall, over_wall, cpu, over_cpu in (whole, stream):
        assert wall - over_wall == pytest.approx(node[0], abs=0.2)
        assert cpu - over_cpu == pytest.approx(node[1], abs=0.2)
