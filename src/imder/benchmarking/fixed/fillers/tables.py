"""scikit-learn's imputers on the codes of all modalities: nearest neighbours and chained equations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from imder.benchmarking.fixed.fillers.base import Array, FillerLeftOut, Mask, with_filled
from imder.benchmarking.fixed.fillers.codes import ClipCodes, joined
from imder.benchmarking.fixed.fit_settings import FitSettings
from imder.data.split import Split

NEIGHBOURS = 10
PREDICTORS = 30
"""Columns that each chained equation reads, those most correlated with its own."""
ROUNDS = 5
MOST_COLUMNS = 400
"""Chained equations have a regression for each column and round; with more columns they take tens of minutes."""


class TableFill:
    """Fill in a table of codes, a row for each clip.

    Args:
        chained: chained equations with draws from the posterior of Bayesian ridge regressions (`IterativeImputer`), instead
            of the mean of the ten nearest training clips (`KNNImputer`).
    """

    def __init__(self, *, chained: bool) -> None:
        self._chained = chained

    def fit(self, train: Split, valid: Split, settings: FitSettings) -> None:
        """Encode the training clips and fit the imputer."""
        del valid
        self._codes = ClipCodes(train, settings.spec)
        if self._chained and (columns := sum(self._codes.widths.values())) > MOST_COLUMNS:
            raise FillerLeftOut(f"{columns} columns of codes take too long; at most {MOST_COLUMNS}")
        self._table = joined(self._codes.encode(train), list(train.features))

    def fill(self, split: Split, available: Mask, draws: int, seed: int) -> Iterator[Split]:
        """Yield the split, once for each draw of chained equations."""
        names = list(split.features)
        codes = self._codes.encode(split)
        for k, name in enumerate(names):
            codes[name][~available[:, k]] = np.nan
        table, imputer = joined(codes, names), self._imputer(seed)
        imputer.fit(self._table)
        ends = np.cumsum([self._codes.widths[name] for name in names])[:-1]
        for draw in range(draws if self._chained else 1):
            parts: list[Array] = np.split(imputer.transform(table), ends, axis=1)
            lacking = {name: ~available[:, k] for k, name in enumerate(names)}
            filled = {
                name: self._codes.decode(name, part[lacking[name]], split.keys[lacking[name]], seed + draw)
                for name, part in zip(names, parts, strict=True)
            }
            yield with_filled(split, available, filled)

    def _imputer(self, seed: int) -> Any:
        from sklearn.experimental import enable_iterative_imputer  # noqa: F401
        from sklearn.impute import IterativeImputer, KNNImputer

        if not self._chained:
            return KNNImputer(n_neighbors=NEIGHBOURS, weights="distance", keep_empty_features=True)
        return IterativeImputer(
            sample_posterior=True,
            n_nearest_features=PREDICTORS,
            max_iter=ROUNDS,
            random_state=seed,
            keep_empty_features=True,
        )
