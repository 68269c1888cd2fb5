"""Blocks of columns that go missing together, filled with draws: an imputer for scikit-learn."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from imder.data.corpus import Corpus, Ragged, Split
from imder.imputation.blocks import Blocks, column_blocks
from imder.imputation.drawing import draw_features
from imder.imputation.impute import check_draws
from imder.inference.options import PredictOptions
from imder.training.config import EngineConfig
from imder.training.train import train
from imder.types import ImderError, Modality, Spec, Task

Floats = NDArray[np.floating[Any]]
NO_TASK: Task = "none"


class MissingModalityImputer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Fill blocks of columns that are missing, such as all features of a camera, with draws given the other blocks.

    A block is what a modality is elsewhere: a row has it or lacks it. A row that lacks some columns of a block lacks the
    block as a whole as far as the model goes; of the block drawn, it gets the columns that it lacks, and its own values
    are kept. Rows that lack everything get draws from the distribution of all.

    Args:
        blocks: sizes of successive blocks (``(297, 35)``), or for each block its columns, a slice or a list of indices.
            Every column is in one block. None: each column is a block.
        draws: draws of each row, which `transform` averages.
        fill: what `transform` fills in: the ``mean`` over draws, or one ``draw``.
        preset: a system that imputes, trained in `fit`.
        settings: overrides of the preset, as in `imder.train`.
        max_epochs: the most epochs of any phase of training; None for the preset's.
        validation_fraction: share of the rows on which training is validated.
        batch_size: rows filled at once.
        device: where to train and draw: ``auto``, ``cpu``, ``cuda``, ...
        random_state: of training and draws.
        verbose: show the progress of training.

    Attributes:
        blocks_: the column indices of each block.
        model_: the trained system.
        seed_: of the draws.

    A row's draws depend on ``seed_`` and the row's values, not on the rows beside it; equal rows get different draws.
    """

    def __init__(
        self,
        blocks: Blocks | None = None,
        draws: int = 16,
        *,
        fill: Literal["mean", "draw"] = "mean",
        preset: str = "imputer",
        settings: Mapping[str, Any] | None = None,
        max_epochs: int | None = None,
        validation_fraction: float = 0.2,
        batch_size: int = 64,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = 0,
        verbose: bool = False,
    ) -> None:
        self.blocks = blocks
        self.draws = draws
        self.fill = fill
        self.preset = preset
        self.settings = settings
        self.max_epochs = max_epochs
        self.validation_fraction = validation_fraction
        self.batch_size = batch_size
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Train the system on the blocks that rows have.

        Args:
            X: ``(N, F)``, NaN where missing.
            y: ``(N,)``, classes or numbers (NaN or None where unknown), which help to tell what is missing; None for none.

        Raises:
            ValueError: blocks, parameters or shapes are wrong, or too few rows have anything.
        """
        x = self._checked(X, reset=True)
        self.blocks_ = column_blocks(self.blocks, x.shape[1])
        if self.fill not in ("mean", "draw"):
            raise ImderError(f"fill: 'mean' or 'draw' is needed, got {self.fill!r}")
        fraction = self.validation_fraction
        if not isinstance(fraction, int | float | np.number) or not 0 < fraction < 1:
            raise ImderError(f"validation_fraction: a number between 0 and 1 is needed, got {fraction!r}")
        check_draws(self.draws)
        PredictOptions(None, 0, self.batch_size)  # refuses a batch size that doesn't fit
        labels, task, classes = _labels(y, len(x))
        random = check_random_state(self.random_state)
        self.seed_ = int(random.randint(2**31 - 1))
        split = self._split(x, labels)
        order = random.permutation(np.flatnonzero(split.present.any(axis=1)))
        for k, has_block in enumerate(np.asarray(split.present.any(axis=0)).tolist()):
            if len(order) >= 2 and not has_block:
                columns = ", ".join(map(str, self.blocks_[k][:5])) + (", ..." if len(self.blocks_[k]) > 5 else "")
                raise ImderError(
                    f"blocks: no row has all columns of block {k} ({columns}), so that nothing is known of it; leave the "
                    "columns out"
                )
        if len(order) < 2:
            raise ImderError(f"{len(order)} rows have a complete block; at least two are needed to train")
        valid = min(len(order) - 1, max(1, round(float(fraction) * len(order))))
        spec = Spec(tuple(Modality(name, r.dim, 1) for name, r in split.features.items()), task, classes)
        splits = {"train": split.take(np.sort(order[valid:])), "valid": split.take(np.sort(order[:valid]))}
        with tempfile.TemporaryDirectory(prefix="imder-") as folder:
            self.model_ = train(
                Corpus("rows", spec, splits),
                Path(folder) / "run",
                preset=self.preset,
                overrides=self.settings,
                max_epochs=self.max_epochs,
                seed=self.seed_,
                engine=EngineConfig(accelerator=self.device),
                logger=False,
                progress=self.verbose,
            )
        if not hasattr(self.model_, "impute"):
            raise ImderError(
                f"preset {self.preset!r}: the system {self.model_.system!r} draws no raw features; use 'imputer'"
            )
        return self

    def transform(self, X: ArrayLike) -> Floats:
        """The rows with what is missing filled in, ``(N, F)``; what was there is returned as it is."""
        check_is_fitted(self)
        if self.fill == "draw":
            drawn: Floats = self.sample_posterior(X, 1)[0]
            return drawn
        x = self._checked(X)
        mean: Floats = self._filled(x, self._draws(x, self.draws, self.seed_), mean=True)[0]
        return mean

    def sample_posterior(
        self, X: ArrayLike, draws: int | None = None, random_state: int | np.random.RandomState | None = None
    ) -> Floats:
        """The rows filled with each draw, ``(draws, N, F)``.

        Args:
            X: ``(N, F)``, NaN where missing.
            draws: how many; None for the estimator's.
            random_state: of the draws; None for that of `fit`, which gives the same draws at each call.
        """
        check_is_fitted(self)
        x = self._checked(X)
        seed = self.seed_ if random_state is None else int(check_random_state(random_state).randint(2**31 - 1))
        return self._filled(x, self._draws(x, self.draws if draws is None else draws, seed))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _checked(self, X: ArrayLike, reset: bool = False) -> Floats:
        x: Floats = validate_data(
            self,
            X,
            reset=reset,
            dtype=(np.float64, np.float32),
            ensure_all_finite="allow-nan",
            ensure_min_features=2 if reset else 1,
            ensure_min_samples=2 if reset else 1,
        )
        if (np.abs(x) > np.finfo(np.float32).max).any():
            raise ImderError("X: values beyond the range of single precision")
        return x

    def _split(self, x: Floats, labels: NDArray[Any] | None = None) -> Split:
        features = {}
        for k, columns in enumerate(self.blocks_):
            block = x[:, columns]
            has_it = ~np.isnan(block).any(axis=1)
            offsets = np.concatenate([[0], np.cumsum(has_it)]).astype(np.int64)
            features[f"block{k}"] = Ragged(block[has_it].astype(np.float32), offsets)
        return Split(_ids(x), features, labels)

    def _draws(self, x: Floats, draws: int, seed: int) -> list[list[Floats]]:
        """For each block the draws of the rows that lack it, ``(M, D)`` each."""
        draws, split = check_draws(draws), self._split(x)
        options = PredictOptions(None, seed, self.batch_size)
        drawn = draw_features(self.model_, split, split.present, draws, options)
        like = np.zeros((0, 1), np.float32)
        return [[r.values for r in drawn.get(name, ())] or [like] * draws for name in split.features]

    def _filled(self, x: Floats, drawn: Sequence[Sequence[Floats]], mean: bool = False) -> Floats:
        """``(S, N, F)``, or ``(1, N, F)`` with the mean over draws."""
        drawn = [[np.mean(block, axis=0, dtype=np.float64)] for block in drawn] if mean else drawn
        out = np.repeat(x[None], len(drawn[0]), axis=0)
        for columns, draws in zip(self.blocks_, drawn, strict=True):
            block = x[:, columns]
            lacking = np.flatnonzero(np.isnan(block).any(axis=1))
            gaps = np.isnan(block[lacking])
            for s, values in enumerate(draws if len(lacking) else ()):
                out[s, lacking[:, None], columns] = np.where(gaps, values, block[lacking])
        return out


def _ids(x: Floats) -> tuple[str, ...]:
    """A name for each row, made of its values and of how many equal rows are above it."""
    plain = np.where(np.isnan(x), np.float32(np.nan), x).astype(np.float32)
    count: dict[bytes, int] = {}
    ids = []
    for row in plain:
        key = hashlib.blake2b(row.tobytes(), digest_size=12).digest()
        count[key] = count.get(key, -1) + 1
        ids.append(f"{key.hex()}-{count[key]}")
    return tuple(ids)


def _labels(y: ArrayLike | None, rows: int) -> tuple[NDArray[Any] | None, Task, tuple[str, ...]]:
    """Labels, task and class names; no task where ``y`` says nothing."""
    if y is None:
        return None, NO_TASK, ()
    values = column_or_1d(y, warn=True)
    check_consistent_length(values, np.empty(rows))
    known = np.array([x is not None and x == x for x in values.tolist()], bool)  # NaN isn't equal to itself
    if not known.any():
        return None, NO_TASK, ()
    given = np.array(values[known].tolist())  # of one type, where the column held None too
    if type_of_target(given).startswith("continuous"):
        reals = np.full(rows, np.nan, np.float32)
        reals[known] = given
        return reals, "regression", ()
    names, numbers = np.unique(given, return_inverse=True)
    if len(names) < 2:
        return None, NO_TASK, ()
    labels = np.full(rows, -1, np.int64)
    labels[known] = numbers
    return labels, "classification", tuple(map(str, names))
