"""What all pages have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from gsi_node.host.files import write

MODEL, TRUTH = "neural JKO", "truth"
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#BBBBBB"  # told apart by the common colour-blindnesses
WIDTH = 9.0  # of a page, inches
DPI = 120
_LOOK: dict[Any, Any] = {
    "axes.titlesize": "medium",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "axes.formatter.use_mathtext": True,
}


@contextmanager
def page(height: float = 4.0, font: float = 9.0) -> Iterator[Figure]:
    """A figure of the pages' look, WIDTH inches wide. font: the size of its letters, points."""
    with mpl.rc_context({**_LOOK, "font.size": font}):
        yield Figure(figsize=(WIDTH, height), layout="constrained")


def save(figure: Figure, path: Path, dpi: int = DPI) -> None:
    """Write a PNG, whole or not at all. Raises StorageError."""
    figure.draw_without_rendering()  # what this pass chooses for ticks, the next one makes room for
    image = BytesIO()
    figure.savefig(image, dpi=dpi)
    write(path, image.getvalue())
