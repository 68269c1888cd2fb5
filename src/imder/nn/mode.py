"""Evaluation mode for a while."""

from __future__ import annotations

from torch import nn


class evaluating:
    """Context manager: a module in evaluation mode, its former mode restored at the end."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def __enter__(self) -> None:
        self._training = [m for m in self._module.modules() if m.training]
        for m in self._training:  # `eval` would set all modules, which takes longer than a small prediction
            m.training = False

    def __exit__(self, *exc: object) -> None:
        for m in self._training:
            m.training = True
