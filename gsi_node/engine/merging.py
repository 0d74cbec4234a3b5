"""Attention to two sets of keys as two attentions, merged by their log-normalisers.

    o = o_b + σ(ℓ_a − ℓ_b)·(o_a − o_b),     ℓ = log Σ_j exp(s·q·k_j + mask_j)     (−inf where all is masked)

Both are torch's own kernels, which keep no scores: on a CPU 640 tokens behind 268 and 1024 others take 0.63 and 0.27 of
the time of products and a softmax. The kernels are private, so they are tried out before they are used.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, Self

import torch
from torch import Tensor

ALIGNED = 8
"""Columns of a mask that CUDA's kernel reads at once."""
_CLOSE = {torch.float32: 1e-5, torch.bfloat16: 3e-2, torch.float16: 4e-3}


class Mask(NamedTuple):
    """values: 0 or −inf, (B or 1, 1, Q or 1, T). blind: the queries that see nothing, (B or 1, 1, Q or 1)."""

    values: Tensor
    blind: Tensor

    @classmethod
    def of(cls, values: Tensor) -> Self | None:
        """None where nothing is hidden. values: (B or 1, Q or 1, T)."""
        return cls(values[:, None], torch.isneginf(values.amax(-1))[:, None]) if bool(values.any()) else None


@lru_cache(32)
@torch.inference_mode()
def is_mergeable(dtype: torch.dtype, device: torch.device, width: int) -> bool:
    """Whether the kernel for heads of this width is here, and does what is said above.

    On a CPU in float32 alone. Half types round o twice: candidates of a bfloat16 model, scored by the model that drew
    them, then differ by 0.04 nats in 40 tokens, where one softmax gives the same bits in both. On CUDA, whose products
    of one token and of many round apart anyway, half types are merged, too. float64 stays as it is.
    """
    if device.type not in ("cpu", "cuda") or dtype not in (_CLOSE if device.type == "cuda" else (torch.float32,)):
        return False
    made = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 2, length, width, generator=made).to(device, dtype) for length in (3, 5, 5))
    hidden = torch.tensor([[[-torch.inf] * 5], [[0.0] * 3 + [-torch.inf] * 2]], device=device)
    try:
        result, log_norm = attended(q, k, v, 0.3, Mask.of(hidden))
    except (RuntimeError, AttributeError, TypeError):  # no such kernel, or one with other arguments
        return False
    scores = 0.3 * q.double() @ k.double().mT + hidden[:, None]
    wanted = torch.softmax(scores, dim=-1)[1] @ v.double()[1]
    return (
        bool((log_norm[0] == -torch.inf).all() and torch.isfinite(result).all())
        and torch.allclose(log_norm[1].double(), scores[1].logsumexp(-1), atol=_CLOSE[dtype])
        and torch.allclose(result[1].double(), wanted, atol=_CLOSE[dtype])
    )


def attended(q: Tensor, k: Tensor, v: Tensor, scale: float, mask: Mask | None) -> tuple[Tensor, Tensor]:
    """(o, ℓ) of queries (B, H, Q, D) to keys and values (B, H, T, D): shapes (B, H, Q, D) and (B, H, Q).

    A query that sees nothing has o = 0.
    """
    if q.device.type == "cuda":
        return on_cuda(q, k, v, scale, mask)
    found: tuple[Tensor, Tensor] = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        q, k, v, 0.0, False, attn_mask=None if mask is None else mask.values, scale=scale
    )
    if mask is None:
        return found
    return found[0], found[1].masked_fill(mask.blind, -torch.inf)  # where the kernel says 0


def on_cuda(q: Tensor, k: Tensor, v: Tensor, scale: float, mask: Mask | None) -> tuple[Tensor, Tensor]:
    """`attended` by the kernel that takes any mask. Its ℓ, float32, has room for a multiple of queries."""
    bias, tokens = None, k.shape[2]
    if mask is not None:
        bias = mask.values.to(q.dtype)
        if tokens % ALIGNED:  # in memory, not in shape
            bias = torch.nn.functional.pad(bias, (0, -tokens % ALIGNED))[..., :tokens]
        bias = bias.expand(*q.shape[:3], tokens)
    result, log_norm, *_ = torch.ops.aten._scaled_dot_product_efficient_attention(
        q, k, v, bias, True, 0.0, False, scale=scale
    )
    log_norm = log_norm[..., : q.shape[2]]
    if mask is None:
        return result, log_norm
    return result.masked_fill(mask.blind[..., None], 0.0), log_norm.masked_fill(mask.blind, -torch.inf)


def merged(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> Tensor:
    """o of both; ℓ: the shape of o without its last dimension. b sees something."""
    share = torch.sigmoid(a[1] - b[1])[..., None]
    return torch.lerp(b[0].to(share.dtype), a[0].to(share.dtype), share).to(b[0].dtype)
