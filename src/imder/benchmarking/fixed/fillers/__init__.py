"""Fillers of missing modalities, by name.

To add one, write a class with the methods of `imder.benchmarking.fixed.fillers.base.Filler` and a row of `FILLERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from imder.benchmarking.fixed.fillers.base import Filler
from imder.benchmarking.fixed.fillers.constants import ConstantFill
from imder.benchmarking.fixed.fillers.gaussian import CHOICES, LinearFill
from imder.benchmarking.fixed.fillers.tables import TableFill


@dataclass(frozen=True)
class FillerSpec:
    """A row of `FILLERS`.

    Attributes:
        make: an instance that isn't fitted.
        draws: whether it draws; others fill in once.
        note: what it is, for tables.
    """

    make: Callable[[], Filler]
    draws: bool
    note: str


FILLERS: dict[str, FillerSpec] = {
    "zero": FillerSpec(lambda: ConstantFill(mean=False), False, "zeros"),
    "mean": FillerSpec(lambda: ConstantFill(mean=True), False, "the training mean"),
    "neighbours": FillerSpec(lambda: TableFill(chained=False), False, "the mean of the ten nearest training clips"),
    "chained": FillerSpec(lambda: TableFill(chained=True), True, "chained equations with posterior draws"),
    "least-squares": FillerSpec(lambda: LinearFill(noise=False), False, "ridge regression"),
    "least-squares:held-out": FillerSpec(
        lambda: LinearFill(noise=False, penalties=CHOICES),
        False,
        "ridge regression, penalty of the least held-out error",
    ),
    "linear-gaussian": FillerSpec(lambda: LinearFill(noise=True), True, "ridge regression and Gaussian residuals"),
    "linear-gaussian:held-out": FillerSpec(
        lambda: LinearFill(noise=True, penalties=CHOICES), True, "the same, penalty of the least held-out error"
    ),
}
"""Fillers by name, in the order of tables."""

DEFAULT_FILLERS = ("zero", "mean", "neighbours", "chained", "least-squares", "linear-gaussian")
