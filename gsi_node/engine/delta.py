"""The automata of step ends on the engine's device: one look-up for the rows of a tick."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from gsi_node.ends import END, START, StepEnds

ENDED = 0


class Delta(NamedTuple):
    """A StepEnds' δ: a state here is where its row of the table begins; that of ENDED, which nothing leaves, is first.

    start: the state of an empty step. kinds: (token ids,). table: flat.
    """

    start: int
    kinds: Tensor
    table: Tensor

    @classmethod
    def of(cls, ends: StepEnds, device: torch.device) -> Self:
        """That of `ends`."""
        width = ends.table.shape[1]
        rows = np.concatenate((np.full((1, width), END), ends.table)).astype(np.int64)
        table = torch.from_numpy((rows + 1) * width).flatten()
        return cls((START + 1) * width, torch.from_numpy(ends.kinds.astype(np.int64)).to(device), table.to(device))

    def after(self, states: Tensor, ids: Tensor) -> Tensor:
        """The states of rows after one more token each."""
        return self.table.index_select(0, states + self.kinds.index_select(0, ids))
