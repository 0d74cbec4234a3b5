"""Pages that a person looks at, in a run's folder: samples.png, marginals.png, training.png."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from gsi_node.neural_jko.picture.marginals import draw_marginals
from gsi_node.neural_jko.picture.samples import draw_samples
from gsi_node.neural_jko.picture.style import page, save
from gsi_node.neural_jko.picture.training import draw_training
from gsi_node.neural_jko.run import Run


def draw_pages(run: Run, x: Tensor, truth: Tensor | None) -> list[Path]:
    """The three pages. x: draws of the model (n, dim); truth: as many of the target, None where it has none."""
    with page() as figure:
        draw_samples(figure, run.target, x, truth)
        save(figure, run.folder / "samples.png")
    with page() as figure:
        draw_marginals(figure, run.target, x, truth)
        save(figure, run.folder / "marginals.png")
    with page() as figure:
        draw_training(figure, run)
        save(figure, run.folder / "training.png")
    return [run.folder / f"{name}.png" for name in ("samples", "marginals", "training")]
