"""The layers of a transformer that are trained, and those that are frozen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import nn

from imder.types import ImderError


def trainable_layers(module: nn.Module, frozen: int, folder: Path) -> list[nn.Module]:
    """The modules to train when the lowest ``frozen`` layers and the embeddings are frozen.

    The pooling of whole texts that some transformers have doesn't affect hidden states and is never trained.

    Args:
        module: a transformer of the ``transformers`` library.
        frozen: number of layers; 0 trains everything.
        folder: of the transformer, for messages.

    Raises:
        ImderError: there are fewer layers, or layers share their weights.
    """
    config: Any = module.config
    layers = int(getattr(config, "num_hidden_layers", 0))
    if frozen > layers:
        raise ImderError(f"training.language_encoder.frozen_layers is {frozen}; {folder} has {layers} layers")
    if frozen == layers:
        return []
    if not frozen:
        return [m for name, m in module.named_children() if name != "pooler"]
    stack = next((m for m in module.modules() if isinstance(m, nn.ModuleList) and len(m) == layers), None)
    if stack is None:
        raise ImderError(
            f"training.language_encoder.frozen_layers: the layers of {folder} share their weights; use 0 or {layers}"
        )
    return list(_from_layer(module, stack, frozen))


def _from_layer(module: nn.Module, stack: nn.ModuleList, first: int) -> Iterator[nn.Module]:
    """The layers from ``first`` on, and the modules after them (a last normalisation)."""
    passed = False
    for name, child in module.named_children():
        if child is stack:
            yield from list(stack)[first:]
        elif any(m is stack for m in child.modules()):
            yield from _from_layer(child, stack, first)
        elif passed and name != "pooler":
            yield child
        passed = passed or any(m is stack for m in child.modules())
