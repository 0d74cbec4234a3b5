"""--list-methods: the table of methods, from their slots."""

from __future__ import annotations

from rich import box
from rich.table import Table

from gsi_node.host.screen import screen
from gsi_node.step.methods import (
    METHODS,
    Accept,
    Method,
    argmax,
    by_tilted_reward,
    exponential,
    mean_weight_ratio,
    reward_reaches_delta,
    tilted_reward_reaches_threshold,
)

ACCEPTS: dict[Accept, str] = {
    tilted_reward_reaches_threshold: "r̃ ≥ u",
    reward_reaches_delta: "r ≥ δ",
    mean_weight_ratio: "with prob. w̄/c",
}


def list_methods() -> None:
    """Write the table to standard output."""
    table = Table("method", "candidates", "chosen by", "accepted if", "otherwise", box=box.SIMPLE_HEAD, pad_edge=False)
    for method in METHODS.values():
        rule = "always" if method.accept is None else ACCEPTS[method.accept]
        table.add_row(
            method.name, _proposes(method), _chosen(method), rule, method.fallback.name if method.fallback else "–"
        )
    console = screen()
    console.show(table)
    console.show("r reward · ℓ = log π_base − log π_draft · r̃ = r + ℓ/β · w = exp(β·r̃) · w̄ mean w")
    console.show("β: --beta · u: --threshold · δ: --set delta=… · log c: --set log_c=… · n: --n")
    console.show("expgsi: ℓ is clipped at --set log_ratio_clip=… nats, and judged --set chunk_size=… at a time")


def _proposes(method: Method) -> str:
    whom = "base, drafted" if method.propose == "specdec" else method.propose
    return f"{'1' if method.single else 'n'} of {whom}"


def _chosen(method: Method) -> str:
    if method.weigh is None:
        return "–"
    if method.choose is argmax:
        return "greatest r"
    if method.choose is exponential:
        return "β·r̃ + Exp(1), first hit"
    return f"softmax of β·{'r̃' if method.weigh is by_tilted_reward else 'r'}"
