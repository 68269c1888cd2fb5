"""Copies of modules on the CPU that take no memory of the device."""

from __future__ import annotations

from copy import deepcopy
from itertools import chain

from torch import Tensor, nn


def copied_to_cpu(module: nn.Module) -> nn.Module:
    """The module itself if it is on the CPU, else a copy there: each tensor is copied once, straight to the CPU."""
    if next(module.parameters()).device.type == "cpu":
        return module
    copies: dict[int, Tensor] = {}  # `deepcopy` takes these in place of the tensors with these ids
    for tensor in chain(module.parameters(), module.buffers()):
        copy = tensor.detach().to("cpu")
        copies[id(tensor)] = nn.Parameter(copy, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else copy
    return deepcopy(module, copies)
