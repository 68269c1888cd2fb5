"""Any model's predictions where inputs are missing: averaged over draws of them.

A model f that needs every modality predicts p(y | x). With some modalities m missing and the others o available, the law of
total probability gives

    p(y | x_o) = E[f(x_o, x_m) | x_o],    estimated by the average of f over draws of x_m.

One filled-in value is not enough: f of the mean is overconfident, and f of one draw is as bad as a guess.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from imder.data.array_values import plain
from imder.data.corpus import Corpus, Ragged, Split
from imder.imputation.impute import check_draws, impute
from imder.imputation.imputed import Imputed
from imder.imputation.marginal import Floats, Marginal
from imder.imputation.pooling import pooled
from imder.inference.selection import Available, Progress
from imder.models.base import Model
from imder.types import ImderError, Spec

Predict = Callable[[Any], Any]
"""From a complete `Split`, or pooled features ``(N, F)``, to predictions ``(N,)`` or ``(N, C)``."""


def marginalize(
    predict: Predict,
    corpus: Imputed | Corpus | Split | str | Path,
    *,
    model: Model | str | Path | None = None,
    draws: int | None = None,
    split: str | None = None,
    available: Available | None = None,
    seed: int | None = None,
    flatten: bool = False,
    batch_size: int | None = None,
    drop_empty: bool = False,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> Marginal:
    """Predict with a function of complete inputs where some are missing.

    Samples that lack nothing are predicted once, from the original features: by ``predict`` of the split as given if no
    sample of it lacks anything by itself (then only ``available`` hides modalities), else by ``predict`` of the complete
    samples in their order. Their predictions are those of such a call to the bit, whatever the draws. The other samples are
    predicted once for each draw, all in one call.

    Args:
        predict: the fixed model. It gets a complete `Split`, or with ``flatten`` an array, copies that it may change, and
            returns numbers ``(N,)`` or probabilities ``(N, C)``: an array, a list or a tensor.
        corpus: samples with draws (`imder.impute`); or with ``model``, a corpus, a split or a path.
        model: a trained system that imputes, the folder of a run, or a hub id; not for an `Imputed`.
        draws: number of draws; None for those of an `Imputed`, else 16. Of an `Imputed` the first ones are used.
        split: as in `imder.impute`, like ``available``, ``seed``, ``batch_size``, ``drop_empty`` and ``device``; not for an
            `Imputed`.
        available: what the system may use; the rest is drawn.
        seed: of the draws; None for 0.
        flatten: hand ``predict`` pooled features ``(N, F)`` (`imder.imputation.pooled`).
        batch_size: samples drawn at once; None for 64.
        drop_empty: leave out samples without any modality instead of raising.
        device: where to draw.
        progress: called with calls of ``predict`` done and calls in all.

    Raises:
        ImderError: ``predict`` returns anything but finite numbers, one row for each sample; a wrong setting; or what
            `imder.impute` refuses.
    """
    if not callable(predict):
        raise ImderError(
            f"predict: a function of a Split is needed, such as model.predict_proba, got {type(predict).__name__}"
        )
    settings = {"split": split, "available": available, "seed": seed, "batch_size": batch_size, "device": device}
    given: dict[str, Any] = {name: value for name, value in settings.items() if value is not None}
    given |= {"drop_empty": True} if drop_empty else {}
    if isinstance(corpus, Imputed):
        if wrong := [*(["model"] if model is not None else []), *given]:
            raise ImderError(f"an Imputed has its draws already; leave out {', '.join(wrong)}")
        imputed = corpus
    elif model is None:
        raise ImderError(
            "model: a run that imputes is needed to draw what the corpus lacks, or an Imputed as the corpus"
        )
    else:
        imputed = impute(model, corpus, draws=16 if draws is None else draws, **given)
    return _marginal(predict, imputed, imputed.draws if draws is None else draws, flatten, progress)


def _marginal(
    predict: Predict, imputed: Imputed, draws: int, flatten: bool, progress: Progress | None = None
) -> Marginal:
    if check_draws(draws) > imputed.draws:
        raise ImderError(f"draws: the Imputed has {imputed.draws} draws; {draws} of them were asked for")
    if not len(imputed.given):
        raise ImderError(f"split {imputed.split_name!r}: there are no samples, so nothing to predict")
    complete, spec = imputed.complete, imputed.spec
    lacking = np.flatnonzero(~complete)
    calls = (draws if len(lacking) else 0) + int(complete.any())
    done = 0

    def call(split: Split) -> Floats:
        nonlocal done
        result = _checked(predict(pooled(split, spec) if flatten else _copy(split)), len(split), spec)
        done += 1
        if progress is not None:
            progress(done, calls)
        return result

    original: Floats | None = None
    if complete.any():
        # The call that a user makes for the whole split: the rounding of matrix products depends on the rows beside.
        given = imputed.given
        original = call(given)[complete] if given.present.all() else call(given.take(np.flatnonzero(complete)))
    spread: Floats | None = None
    for s in range(draws):
        if not len(lacking):
            break
        filled = imputed.split(s)
        values = call(filled if len(lacking) == len(filled) else filled.take(lacking))
        if spread is None:
            like = values if original is None else original
            spread = np.empty((draws, len(complete), *like.shape[1:]), like.dtype)
            if original is not None:
                spread[:, complete] = original
        if values.shape[1:] != spread.shape[2:]:
            raise ImderError(f"predict: rows of shape {values.shape[1:]}, but {spread.shape[2:]} in an earlier call")
        spread[s, lacking] = values
    if spread is None:
        assert original is not None, "a split has samples"
        spread = np.repeat(original[None], draws, axis=0)
    prediction = spread[0].copy()
    prediction[lacking] = spread[:, lacking].mean(axis=0, dtype=np.float64)
    return Marginal(
        prediction,
        spread,
        imputed.filled,
        imputed.given.ids,
        imputed.given.labels,
        spec,
        lambda other, count: _marginal(predict, other, count, flatten),
    )


def _copy(split: Split) -> Split:
    """The split with arrays of its own: draws share those of features that were available."""
    return replace(
        split,
        features={name: Ragged(r.values.copy(), r.offsets) for name, r in split.features.items()},
        labels=None if split.labels is None else split.labels.copy(),
    )


def _checked(value: Any, count: int, spec: Spec) -> NDArray[Any]:
    """Predictions as finite floats ``(N,)`` or ``(N, C)``."""
    try:
        array = np.asarray(plain(value))
    except ValueError:  # rows of different lengths
        array = np.empty(0, object)
    if array.dtype.kind in "US" or (array.dtype.kind in "iub" and array.ndim == 1 and spec.task == "classification"):
        raise ImderError(
            "predict: returns names or numbers of classes; return probabilities (N, C), as predict_proba does"
        )
    if array.dtype.kind not in "fiub" or array.ndim not in (1, 2) or array.shape[1:] == (0,):
        shape = f"an array of {array.dtype} and shape {array.shape}" if array.dtype != object else type(value).__name__
        raise ImderError(f"predict: numbers (N,) or (N, C) are needed, got {shape}")
    if len(array) != count:
        raise ImderError(f"predict: {len(array)} rows for {count} samples; return one row for each, in their order")
    array = array if array.dtype.kind == "f" else array.astype(np.float64)
    if bad := int((~np.isfinite(array)).sum()):
        raise ImderError(f"predict: {bad} of {array.size} predictions aren't finite")
    return array
