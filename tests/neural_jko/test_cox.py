"""The log-Gaussian Cox process against torch.distributions; its points from files and from seeds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.distributions import MultivariateNormal, Poisson

from gsi_node.errors import ConfigError
from gsi_node.neural_jko.cox import CELLS, EXPECTED, MEAN, Cox, covariance, drawn_points, read_points
from gsi_node.neural_jko.targets import named, with_truth


def test_it_is_a_gaussian_field_and_poisson_counts() -> None:
    target = Cox(drawn_points(3))
    field = MultivariateNormal(torch.full((400,), MEAN, dtype=torch.float64), covariance())
    torch.manual_seed(0)
    y = field.sample((20,))
    oracle = field.log_prob(y) + Poisson(torch.exp(y) / 400).log_prob(target.counts).sum(1)
    assert target.log_density(y).tolist() == pytest.approx(oracle.tolist(), abs=1e-8)


def test_cells_hold_the_points_that_lie_in_them() -> None:
    counts = Cox(torch.tensor([[0.0, 0.0], [0.01, 0.049], [0.06, 0.99], [1.0, 1.0]])).counts
    assert [counts[0], counts[CELLS + CELLS - 1], counts[-1], counts.sum()] == [2.0, 1.0, 1.0, 4.0]


def test_drawn_points_are_as_many_as_expected_and_the_seed_s() -> None:
    """The expected number is 126, that of the Finnish pines; its standard deviation over seeds about 19."""
    numbers = [len(drawn_points(seed)) for seed in range(40)]
    assert sum(numbers) / 40 == pytest.approx(EXPECTED, abs=12)
    assert torch.equal(drawn_points(5), drawn_points(5))
    zero = torch.zeros(1, 400)
    assert not torch.equal(named("cox", 5).log_density(zero), named("cox", 6).log_density(zero))


def test_points_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "points.txt"
    path.write_text("0.1 0.2\n\n0.3,0.4\n")
    assert read_points(path).tolist() == [[0.1, 0.2], [0.3, 0.4]]
    target = named("cox", points=path)
    assert isinstance(target, Cox) and len(target.points) == 2
    with pytest.raises(ConfigError, match="target mustache takes none"):
        named("mustache", points=path)
    with pytest.raises(ConfigError, match="no ground truth"):
        with_truth(target)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("0.1 0.2\n0.3", r"line 2: '0\.3' is no point"),
        ("a b", "line 1: 'a b' is no point"),
        ("12 3", "line 1: '12 3' lies outside"),
        ("nan 0.1", "lies outside"),
        ("\n", "holds no points"),
    ],
)
def test_what_is_no_point_is_named(content: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "points.txt"
    path.write_text(content)
    with pytest.raises(ConfigError, match=told):
        read_points(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_points(tmp_path / "none")
