"""The benchmark's own arithmetic (its figures are printed, not tested)."""

from __future__ import annotations

import pytest

from gsi_node.bench import graph_microseconds, union_seconds


def test_union_counts_overlaps_once() -> None:
    assert union_seconds([]) == 0.0
    assert union_seconds([(3.0, 4.0), (0.0, 1.0), (0.5, 2.0), (0.6, 0.7)]) == pytest.approx(3.0)


def test_the_graph_is_timed_in_microseconds() -> None:
    assert 1.0 < graph_microseconds(5, 1) < 1e6
