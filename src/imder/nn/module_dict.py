"""A `torch.nn.ModuleDict` that knows the type of its modules."""

from __future__ import annotations

from collections.abc import ItemsView, ValuesView
from typing import TYPE_CHECKING, Generic, TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


class ModuleDict(nn.ModuleDict, Generic[M]):
    """Modules by name, all of one type: ``ModuleDict[nn.Linear]({"a": nn.Linear(1, 1)})``.

    >>> layers = ModuleDict[nn.Linear]({"a": nn.Linear(2, 3)})
    >>> layers["a"].out_features, list(layers.state_dict())
    (3, ['a.weight', 'a.bias'])
    """

    if TYPE_CHECKING:

        def __getitem__(self, key: str) -> M: ...
        def items(self) -> ItemsView[str, M]: ...  # noqa: D102
        def values(self) -> ValuesView[M]: ...  # noqa: D102
