"""Gradient reversal (Ganin and Lempitsky, ICML 2015): the identity forwards, the negated gradient backwards."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        del ctx
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        del ctx
        return -gradients[0]


def reverse_gradient(x: Tensor) -> Tensor:
    """The tensor itself, whose gradient arrives negated at what it was computed from.

    >>> x = torch.tensor([2.0], requires_grad=True)
    >>> (3 * reverse_gradient(x)).sum().backward()
    >>> x.grad
    tensor([-3.])
    """
    reversed_: Tensor = _Reversal.apply(x)  # type: ignore[no-untyped-call]
    return reversed_
