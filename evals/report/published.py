"""Published figures of the pairs of models that `evals paper` knows."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

from evals.report.text_table import TextTable

FILE = Path(__file__).with_name("published.json")
PAIRS = ("qwen2.5-math", "qwen3")
NOTE = "Figures of arXiv 2609.21899 are as others summarise it; its own text was not at hand."


class PublishedFigure(BaseModel):
    """One number. spread: as published behind ±. where: the device of seconds, the sets of a mean over several."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    quantity: Literal["accuracy", "acceptance", "seconds a step"]
    method: str
    n: int
    value: float
    source: str
    spread: float | None = None
    where: str = ""

    def cells(self) -> list[str]:
        """What it is, and the number."""
        told = f"{self.value:g}" if self.spread is None else f"{self.value:g} ± {self.spread:g}"
        return [self.quantity, self.method, str(self.n), told]

    @property
    def origin(self) -> str:
        """The source, and where it was measured."""
        return f"{self.source}, {self.where}" if self.where else self.source


def read_published() -> dict[str, list[PublishedFigure]]:
    """By pair."""
    return TypeAdapter(dict[str, list[PublishedFigure]]).validate_json(FILE.read_bytes())


def figures_of(pair: str) -> TextTable:
    """The figures of a pair."""
    lines = [[*one.cells(), one.origin] for one in read_published()[pair]]
    return TextTable(f"Published: {pair}", ["what", "method", "n", "published", "source"], lines, [NOTE])
