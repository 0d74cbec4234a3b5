"""The pages of a run's folder: what they show is what was drawn and measured, at one scale, whatever the tails."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from gsi_node.neural_jko.cox import CELLS, Cox
from gsi_node.neural_jko.known import Funnel, Mixture, Mustache
from gsi_node.neural_jko.picture import draw_pages
from gsi_node.neural_jko.picture.marginals import draw_marginals
from gsi_node.neural_jko.picture.samples import draw_samples
from gsi_node.neural_jko.picture.style import page, save
from gsi_node.neural_jko.picture.training import draw_training
from gsi_node.neural_jko.run import Run
from gsi_node.neural_jko.targets import Target
from tests.neural_jko.small import QUICK, gaussian


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def samples(target: Target, x: Tensor, truth: Tensor | None) -> list[Axes]:
    figure = Figure()
    draw_samples(figure, target, x, truth)
    return [axes for axes in figure.axes if axes.get_title()]


def marginals(target: Target, x: Tensor, truth: Tensor | None) -> tuple[str, list[Axes]]:
    figure = Figure()
    draw_marginals(figure, target, x, truth)
    return figure.get_suptitle(), [axes for axes in figure.axes if axes.get_xlabel()]


def heights(patch: Any) -> float:
    """∫ of a histogram."""
    values, edges, _ = patch.get_data()
    return float((values * np.diff(edges)).sum())


def test_both_clouds_have_one_scale_and_heavy_tails_do_not_stretch_it() -> None:
    target = Mustache()
    x, truth = (target.sample(2000, rng()) for _ in range(2))
    plain = samples(target, x, truth)
    x = x.clone()
    x[:3] = 1e9
    shown = samples(target, x, truth)
    for one, other in zip(shown, plain, strict=True):
        assert one.get_aspect() == 1.0
        assert (one.get_xlim(), one.get_ylim()) == (other.get_xlim(), other.get_ylim())
        assert one.get_ylabel() == "$x_{1}$"  # long: it lies down
    low, high = truth[:, 1].quantile(torch.tensor([0.01, 0.99]).double()).tolist()
    assert shown[0].get_xlim()[0] < low < high < shown[0].get_xlim()[1]
    counts = [np.asarray(axes.collections[0].get_array()) for axes in shown]
    outside = [2000 - int(count.sum()) for count in counts]
    assert [axes.get_title() for axes in shown] == [
        f"neural JKO: 2,000 draws, {outside[0]} outside",
        f"truth: 2,000 draws, {outside[1]} outside",
    ]
    assert outside[0] in (outside[1] + 2, outside[1] + 3)  # one of the three may have lain outside before
    assert {axes.collections[0].norm.vmax for axes in shown} == {max(count.max() for count in counts)}


def test_no_label_is_cut_where_ticks_change_with_the_layout(tmp_path: Path) -> None:
    target = Funnel()
    x, truth = (target.sample(20_000, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    with page() as figure:
        draw_samples(figure, target, x, truth)
        save(figure, tmp_path / "samples.png")
        pad = figure.get_layout_engine().get()["w_pad"] * figure.dpi  # type: ignore[union-attr]
        edges = [axes.yaxis.label.get_window_extent().x0 for axes in figure.axes if axes.get_ylabel() == "$x_{1}$"]
    assert len(edges) == 2
    assert min(edges) > 0.9 * pad


def test_of_a_mixture_the_coordinates_are_those_whose_means_differ_most() -> None:
    means = torch.zeros(2, 5, dtype=torch.float64)
    means[0, 2], means[1, 4] = 3.0, 2.0
    target = Mixture("two", means, 0.01)
    axes = samples(target, target.sample(100, rng()), None)
    assert [axes[0].get_xlabel(), axes[0].get_ylabel()] == ["$x_{3}$", "$x_{5}$"]
    funnel = Funnel()
    assert samples(funnel, funnel.sample(500, rng()), None)[0].get_ylabel() == "$x_{1}$"


def test_a_cox_process_is_its_mean_intensity_where_the_points_lie() -> None:
    target = Cox(torch.tensor([[0.93, 0.21]], dtype=torch.float64))
    y = torch.where(target.counts > 0, 5.0, 1.0).double().expand(4, -1) + torch.tensor([0.0, 0.1, 0.2, 0.3])[:, None]
    axes = samples(target, y, None)
    (image,) = axes[0].images
    shown = np.asarray(image.get_array())
    row, column = np.unravel_index(shown.argmax(), shown.shape)
    assert image.origin == "lower"
    assert ((column + 0.5) / CELLS, (row + 0.5) / CELLS) == pytest.approx((0.925, 0.225))
    assert shown.max() == pytest.approx(float((5.0 + torch.tensor([0.0, 0.1, 0.2, 0.3]).double()).exp().mean()))


def test_marginals_are_densities_on_any_axis() -> None:
    target = Funnel()
    x, truth = target.sample(3000, rng()), target.sample(3000, torch.Generator().manual_seed(1))
    title, axes = marginals(target, x, truth)
    assert len(axes) == target.dim
    assert title == "funnel: marginal densities"
    assert {one.get_xscale() for one in axes} == {"linear", "asinh"}  # x_1 and the heavy ones
    for one in axes:
        assert [heights(patch) for patch in one.patches] == pytest.approx([1.0, 1.0])
        assert one.get_yscale() == "log"
    far = torch.cat([50.0 + 0.01 * torch.randn(2000, 1, generator=rng()).double(), torch.tensor([[60.0]]).double()])
    _, (one,) = marginals(gaussian(1), far, None)
    assert one.get_xlabel() == "$x_{1}$ − 50"
    assert heights(one.patches[0]) == pytest.approx(1.0)


def test_of_many_coordinates_those_that_differ_are_shown() -> None:
    x, truth = (torch.randn(500, 15, generator=torch.Generator().manual_seed(seed)).double() for seed in (0, 1))
    x[:, 12] += 1.0
    title, axes = marginals(gaussian(15), x, truth)
    assert "$x_{13}$" in [one.get_xlabel() for one in axes]
    assert title == "gaussian15: marginal densities, the 10 of 15 that differ most (Kolmogorov–Smirnov)"
    title, axes = marginals(gaussian(15), x, None)
    assert [one.get_xlabel() for one in axes] == [f"$x_{{{i}}}$" for i in range(1, 11)]
    assert title.endswith("the first 10 of 15")


def test_the_pages_of_a_run(tmp_path: Path) -> None:
    run = Run(gaussian(1), QUICK, tmp_path)
    stack = run.complete()
    x = stack.sample(200, rng()).x
    paths = draw_pages(run, x, None)
    assert [path.name for path in paths] == ["samples.png", "marginals.png", "training.png"]
    for path in paths:
        assert struct.unpack(">I", path.read_bytes()[16:20]) == (1080,)
    with page() as figure:
        draw_training(figure, run)
    *losses, layers = figure.axes
    assert [axes.get_title() for axes in losses] == ["flow 0", "flow 1"]
    assert [len(np.asarray(axes.lines[0].get_xdata())) for axes in losses] == [QUICK.steps] * 2
    refused = [1 - layer["accept_prob"] for layer in run.finished() if layer["kind"] == "rejection"]
    bars = [patch for patch in layers.patches if isinstance(patch, Rectangle)]
    assert [bar.get_height() for bar in bars] == pytest.approx(refused)
    (shares,) = (line for line in layers.lines if line.get_label() == "effective sample size")
    known = [(i, layer["ess"]) for i, layer in enumerate(run.finished()) if layer["kind"] == "rejection"]
    assert [tuple(point) for point in np.asarray(shares.get_xydata()).tolist()] == known  # QUICK looks at no flow's
    for path in tmp_path.glob("*-losses.json"):  # of a run that was made before losses were kept
        path.unlink()
    with page() as figure:
        draw_training(figure, run)
    assert len(figure.axes) == 1
