"""A linear map on the faster of torch's two CPU libraries.

`torch.nn.functional.linear` multiplies with MKL, which takes its AVX2 code on AMD processors; oneDNN's inner product, the
operator that compiled models use, takes AVX-512 there and is twice as fast for the small matrices of the published networks.
It has no gradient, so it serves inference alone. Results differ by roundings.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
_HAS_ONEDNN = _available and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Map x to x W^T + b.

    Args:
        x: ``(..., I)``.
        weight: ``(O, I)``.
        bias: ``(O,)``, or None.

    Returns:
        ``(..., O)``.

    >>> linear(torch.ones(1, 2), torch.tensor([[1.0, 2.0], [-1.0, 0.0]]), torch.zeros(2)).tolist()
    [[3.0, -1.0]]
    """
    fits = x.device.type == "cpu" and x.dtype == torch.float32 and x.numel() > 0
    plain = torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling()
    if plain or not fits or not _HAS_ONEDNN:
        return F.linear(x, weight, bias)
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")  # its "relu" turns NaN into 0
    return product
