"""A module's evaluation mode, set for the length of a block."""

from __future__ import annotations

from torch import nn


class evaluating:
    """Context manager that sets a module to evaluation mode and restores the mode of each submodule at the end."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def __enter__(self) -> None:
        self._training = [m for m in self._module.modules() if m.training]
        for m in self._training:  # `eval` would set all modules, which takes longer than a small prediction
            m.training = False

    def __exit__(self, *exc: object) -> None:
        for m in self._training:
            m.training = True
