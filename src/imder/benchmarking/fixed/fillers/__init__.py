"""Fillers of missing modalities, by name.

To add one, write a class with the methods of `imder.benchmarking.fixed.fillers.base.Filler` and a row of `FILLERS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from imder.benchmarking.fixed.fillers.base import Filler


@dataclass(frozen=True)
class FillerSpec:
    """A row of `FILLERS`.

    Attributes:
        path: module of this package and class, imported when the filler is used.
        draws: whether it draws; others fill in once.
        note: what it is, for tables.
        options: of the class.
        nested: whether fewer draws are the first ones of more; else each number of draws is filled in by itself.
        neighbours: whether it reads neighbouring clips, so that it is given whole dialogues, also of clips that aren't scored.
        chunked: whether clips may be filled in some at a time, dialogue by dialogue, at equal results.
    """

    path: str
    draws: bool
    note: str
    options: Mapping[str, Any] = field(default_factory=dict)
    nested: bool = True
    neighbours: bool = False
    chunked: bool = False

    def make(self) -> Filler:
        """A filler that isn't fitted."""
        module, _, name = self.path.partition(":")
        kind = getattr(import_module(f"imder.benchmarking.fixed.fillers.{module}"), name)
        return cast("Filler", kind(**self.options))


def _imputer(note: str, context: bool = True, labels: bool = True) -> FillerSpec:
    options = {"context": context, "labels": labels}
    return FillerSpec("imputer:ImputerFill", True, note, options, nested=False, neighbours=context, chunked=True)


FILLERS: dict[str, FillerSpec] = {
    "zero": FillerSpec("constants:ConstantFill", False, "zeros", {"mean": False}),
    "mean": FillerSpec("constants:ConstantFill", False, "the training mean", {"mean": True}),
    "neighbours": FillerSpec("tables:TableFill", False, "mean of the ten nearest training clips", {"chained": False}),
    "chained": FillerSpec("tables:TableFill", True, "chained equations with posterior draws", {"chained": True}),
    "least-squares": FillerSpec("gaussian:LinearFill", False, "ridge regression", {"noise": False}),
    "least-squares:held-out": FillerSpec(
        "gaussian:LinearFill", False, "ridge, penalty of the least held-out error", {"noise": False, "tuned": True}
    ),
    "linear-gaussian": FillerSpec("gaussian:LinearFill", True, "ridge and Gaussian residuals", {"noise": True}),
    "linear-gaussian:held-out": FillerSpec(
        "gaussian:LinearFill", True, "the same, penalty of the least held-out error", {"noise": True, "tuned": True}
    ),
    "imputer": _imputer("the imputer of this package"),
    "imputer:no-context": _imputer("the imputer without neighbouring clips", context=False),
    "imputer:no-labels": _imputer("the imputer trained without labels", labels=False),
    "imputer:no-context-no-labels": _imputer("the imputer without either", context=False, labels=False),
}
"""Fillers by name, in the order of tables."""

DEFAULT_FILLERS = ("zero", "mean", "neighbours", "chained", "least-squares", "linear-gaussian", "imputer")
