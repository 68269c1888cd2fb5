"""Linear layers of M members side by side: one matrix product for all.

    y_m = W_m x_m + b_m,   m = 1 ... M

Each member starts from weights of its own, as a `torch.nn.Linear` does.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MemberLinear(nn.Module):
    """``(M, B, I)`` -> ``(M, B, O)``.

    Args:
        members: M.
        in_features: I.
        out_features: O.
        bias: whether there is a bias.

    >>> MemberLinear(3, 4, 2)(torch.zeros(3, 5, 4)).shape
    torch.Size([3, 5, 2])
    """

    def __init__(self, members: int, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.out_features = out_features
        layers = [nn.Linear(in_features, out_features, bias) for _ in range(members)]
        self.weight = nn.Parameter(torch.stack([layer.weight.detach() for layer in layers]))
        self.bias = nn.Parameter(torch.stack([layer.bias.detach() for layer in layers])) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Apply each member's layer to its own ``(B, I)``."""
        weight = self.weight.transpose(1, 2)
        return torch.bmm(x, weight) if self.bias is None else torch.baddbmm(self.bias[:, None], x, weight)
