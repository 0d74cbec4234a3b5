"""The optimiser: Muon for the hidden matrices, AdamW for everything else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


def orthogonal(matrices: Tensor, rounds: int = 5) -> Tensor:
    """X(XᵀX)^(-1/2) by Newton–Schulz rounds (quintic, the coefficients of K. Jordan's Muon), [n, rows, columns].

    The singular values end between about 0.7 and 1.2, which is all the optimiser needs.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.transpose(1, 2) if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(rounds):
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    found: Tensor = x.transpose(1, 2) if tall else x
    return found


class Muon(torch.optim.Optimizer):
    """Momentum, then the nearest orthogonal matrix; steps have the root mean square of `lr` times 0.2, as AdamW's."""

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.95, decay: float = 0.0) -> None:
        """`lr` in AdamW's units; `decay` is decoupled weight decay."""
        super().__init__(params, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step; matrices of one shape are handled together."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
            for param in group["params"]:
                if param.grad is not None:
                    state: dict[str, Any] = self.state[param]
                    average = state.setdefault("momentum", torch.zeros_like(param))
                    average.lerp_(param.grad, 1 - group["momentum"])
                    shapes[param.shape].append((param, param.grad.lerp(average, group["momentum"])))
            for shape, pairs in shapes.items():
                scale = 0.2 * max(shape) ** 0.5
                pushes = orthogonal(torch.stack([push for _, push in pairs]))
                for (param, _), push in zip(pairs, pushes, strict=True):
                    param.mul_(1 - group["lr"] * group["decay"])
                    param.add_(push, alpha=-group["lr"] * scale)


def optimizers(model: nn.Module, muon: float, adam: float) -> list[torch.optim.Optimizer]:
    """Muon (rate `muon`) for the matrices inside the layers, AdamW (rate `adam`, β₂ = .98) for the rest.

    Frozen parameters go to neither; with `muon` 0, AdamW takes everything.
    """
    hidden: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, param in model.named_parameters():
        if not param.requires_grad:
            continue
        (hidden if muon and param.ndim == 2 and ".layers." in name else rest).append(param)
    made: list[torch.optim.Optimizer] = [torch.optim.AdamW(rest, lr=adam, betas=(0.9, 0.98), weight_decay=0.0)]
    if hidden:
        made.append(Muon(hidden, lr=muon))
    return made
