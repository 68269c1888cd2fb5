"""A bound on the numbers that modules hold while they are built.

A description of a few bytes can ask for layers of any size. Modules that are built on torch's device ``meta`` take no memory,
so their sizes can be counted before anything is allocated.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

from imder.types import ImderError

NOT_SAVED = 1 << 24
"""Numbers that modules may hold beside their weights: buffers that are computed anew."""
_MOST_TIMES = 4  # parameters for each byte of the weights: a layer may be registered several times


@contextmanager
def no_larger_than(weights: int, name: str) -> Iterator[None]:
    """Raise `ImderError` where modules register many more numbers than the bytes of their ``weights``, a file ``name``."""
    registered = 0
    most = _MOST_TIMES * weights + NOT_SAVED

    def count(module: nn.Module, key: str, tensor: Tensor | None) -> None:
        nonlocal registered
        registered += 1 if tensor is None else 1 + tensor.numel()
        if registered > most:
            raise ImderError(f"it describes a model larger than {name}")

    handles = [register_module_parameter_registration_hook(count), register_module_buffer_registration_hook(count)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
