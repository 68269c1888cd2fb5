"""Draws of everything that a mask leaves out, by a trained system."""

from __future__ import annotations

from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray

from imder.data.corpus import Ragged, Split
from imder.inference.options import PredictOptions
from imder.inference.selection import Progress, batches
from imder.missingness.masks import Mask
from imder.models.base import Model
from imder.types import Batch, ImderError, ImputedFeatures

HALF_MAX = 65504.0
"""The greatest float16."""

Piece = tuple[NDArray[np.int64], Ragged]
"""Row numbers, and one draw of their sequences."""


class Imputing(Protocol):
    """A system that draws raw features has this method beside those of `Model`."""

    def impute(self, batch: Batch, draws: int = 16, seed: int = 0) -> dict[str, ImputedFeatures]:
        """Draws of each modality that some row lacks, for all rows that lack it."""
        ...


def draw_features(
    model: Model, split: Split, mask: Mask, draws: int, options: PredictOptions, progress: Progress | None = None
) -> dict[str, tuple[Ragged, ...]]:
    """Draws of everything that a mask leaves out.

    Args:
        model: a system that imputes.
        split: as `Model.prepare` gives it; features keep its types.
        mask: ``(N, K)`` bool, what the system may use, in the order of its spec.
        draws: of each modality.
        options: seed and batch size.
        progress: called with samples done and samples in all.

    Returns:
        For each modality that a row lacks ``draws`` sequences of these rows, in order.

    Raises:
        ImderError: the system draws nothing for a row, or features of another shape, or values that aren't finite.
    """
    lacking = np.flatnonzero(~mask.all(axis=1))
    pieces: dict[str, list[list[Piece]]] = {}
    imputing = cast(Imputing, model)
    for rows, batch in batches(model, split, mask, options.batch_size, progress, lacking) if len(lacking) else ():
        with torch.no_grad():
            output = imputing.impute(batch, draws=draws, seed=options.seed)
        for name, drawn in output.items():
            numbers = rows[drawn.rows.cpu().numpy()]
            features, lengths = drawn.features.float().cpu().numpy(), drawn.lengths.cpu().numpy()
            by_draw = pieces.setdefault(name, [[] for _ in range(draws)])
            for s in range(draws):
                by_draw[s].append((numbers, _ragged(features[s], lengths[s])))
    joined = {}
    for k, (name, ragged) in enumerate(split.features.items()):
        wanted = np.flatnonzero(~mask[:, k])
        if len(wanted):
            by_draw = pieces.pop(name, [[] for _ in range(draws)])[::-1]
            joined[name] = tuple(_joined(model, split, name, ragged, wanted, by_draw.pop()) for _ in range(draws))
    return joined


def _ragged(features: NDArray[np.float32], lengths: NDArray[np.int64]) -> Ragged:
    """Padded sequences ``(R, T, D)`` without their padding."""
    valid = np.arange(features.shape[1]) < lengths[:, None]
    return Ragged(features[valid], np.concatenate([[0], np.cumsum(valid.sum(axis=1))]).astype(np.int64))


def _joined(
    model: Model, split: Split, name: str, like: Ragged, wanted: NDArray[np.int64], pieces: list[Piece]
) -> Ragged:
    """One draw of the rows ``wanted``, in order and of the type of the features that are there."""
    numbers = np.concatenate([rows for rows, _ in pieces] or [np.zeros(0, np.int64)])
    if lacking := sorted({*wanted.tolist()} ^ {*numbers.tolist()}):
        raise ImderError(
            f"{name}: the system {model.system!r} should draw it for exactly the samples that lack it, not so for "
            f"sample {split.ids[lacking[0]]!r}"
        )
    lengths = np.concatenate([ragged.lengths for _, ragged in pieces])
    values = np.concatenate([ragged.values for _, ragged in pieces])
    where = f"{name}: the system {model.system!r}"
    if values.shape[1] != like.dim:
        raise ImderError(f"{where} draws {values.shape[1]} features where the corpus has {like.dim}")
    if (lengths < 1).any() or not np.isfinite(values).all():
        raise ImderError(f"{where} draws sequences that are empty or not finite; train it again")
    kind = like.values.dtype
    if kind == np.float16:
        values = values.clip(-HALF_MAX, HALF_MAX)
    drawn = Ragged(values.astype(kind, copy=False), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    order = np.argsort(numbers, kind="stable")
    return drawn if (order == np.arange(len(order))).all() else drawn.take(order)
