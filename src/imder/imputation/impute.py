"""Raw features of missing modalities, drawn by a trained system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray

from imder.data.corpus import Corpus, Ragged, Split
from imder.data.formats.assemble import FieldShape
from imder.data.formats.load import load_as_given
from imder.data.task_mismatch import task_of
from imder.imputation.imputed import Imputed
from imder.imputation.layouts import check_layout, check_out, layout_of, write_imputed
from imder.inference.options import PredictOptions
from imder.inference.selection import Available, Progress, Selection, batches, select
from imder.missingness.masks import Mask
from imder.models.base import Model
from imder.training.trained import TrainedModel
from imder.types import Batch, ImderError, ImputedFeatures, Spec

HALF_MAX = 65504.0
"""The greatest float16."""

Piece = tuple[NDArray[np.int64], Ragged]
"""Row numbers, and one draw of their sequences."""


class Imputing(Protocol):
    """A system that draws raw features has this method beside those of `Model`."""

    def impute(self, batch: Batch, draws: int = 16, seed: int = 0) -> dict[str, ImputedFeatures]:
        """Draws of each modality that some row lacks, for all rows that lack it."""
        ...


def impute(
    model: Model | TrainedModel | str | Path,
    corpus: Corpus | Split | str | Path,
    out: str | Path | None = None,
    split: str | None = None,
    *,
    available: Available | None = None,
    draws: int = 16,
    seed: int = 0,
    batch_size: int = 64,
    layout: str | None = None,
    drop_empty: bool = False,
    force: bool = False,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> Imputed:
    """Fill what is missing in a split with draws of its raw features.

    A modality is filled where the corpus lacks it and where ``available`` hides it. Everything else stays as it is, to the
    bit: features and their type, ids, labels, texts, dialogues, positions and speakers.

    Args:
        model: a trained system that imputes (``imputer``), the folder of a run, or a hub id.
        corpus: a corpus, a split of samples, or the path of a corpus.
        out: a folder to write the draws to (`imder.imputation.layouts`); None writes nothing.
        split: which split of a corpus; None for ``test``, or for the only one.
        available: what the system may use, as in `imder.predict`.
        draws: draws of each missing modality; those of one number go together.
        seed: of the draws, and of a protocol's mask. A draw depends on it and the sample's id, not on other samples.
        batch_size: samples filled at once; affects time and memory alone.
        layout: of the files: ``npz``, ``store`` or ``pickle``; None for that of the corpus given, or ``store``.
        drop_empty: leave out samples without any modality instead of raising, when reading a path.
        force: replace earlier draws in ``out`` instead of raising.
        device: as in `imder.predict`.
        progress: called with samples done and samples in all.

    Returns:
        The samples with all draws.

    Raises:
        ImderError: the system draws no features, what `imder.predict` refuses, no sample lacks anything and there is an
            ``out``, or ``out`` holds anything but earlier draws.
    """
    if not isinstance(draws, Integral) or isinstance(draws, bool) or draws < 1:
        raise ImderError(f"draws: a whole number, at least 1, is needed, got {draws!r}")
    options = PredictOptions(None, seed, batch_size)
    chosen = check_layout(layout) or layout_of(corpus)
    if out is not None:
        check_out(out, force)
    trained = model if isinstance(model, TrainedModel) else TrainedModel.load(model, device)
    if not hasattr(trained.model, "impute"):
        raise ImderError(
            f"{trained.name}: the system {trained.model.system!r} draws no raw features; train one that does: "
            "imder train CORPUS --out RUN --preset imputer"
        )
    shapes: Mapping[str, FieldShape] = {}
    if isinstance(corpus, str | Path):
        corpus, shapes = load_as_given(trained.model.spec, trained.recipe, trained.name, corpus, drop_empty=drop_empty)
    data = corpus if isinstance(corpus, Split) else trained.read(corpus)
    selection, given, spec = _select(trained.model, data, split, available, seed)
    if out is not None and selection.mask.all():
        raise ImderError(
            f"split {selection.name!r}: no sample lacks a modality: there is nothing to fill; available (--available, "
            "--protocol) hides modalities"
        )
    order = [trained.model.spec.names.index(name) for name in given.features]
    imputed = Imputed(
        given,
        ~selection.mask[:, order],
        draw_features(trained.model, selection.split, selection.mask, int(draws), options, progress),
        int(draws),
        spec,
        selection.title,
        selection.name,
        data.recipe if isinstance(data, Corpus) else None,
        shapes,
    )
    if out is not None:
        write_imputed(imputed, out, chosen, {"model": trained.name, "seed": int(seed)})
    return imputed


def _select(
    model: Model, data: Corpus | Split, split: str | None, available: Available | None, seed: int
) -> tuple[Selection, Split, Spec]:
    """The selection, the split as given with every modality of the model, and the spec of these; labels stay as they are."""
    if isinstance(data, Corpus):
        name = data.default_split if split is None else split
        given, task, classes = data[name], data.spec.task, data.spec.classes
        lengths = {m.name: m.length for m in data.spec.modalities}
        bare: Corpus | Split = replace(data, splits={name: replace(given, labels=None, foreign_task=None)})
        selection = select(model, bare, name, available, seed)
    else:
        given, lengths = data, {name: int(r.lengths.max(initial=1)) for name, r in data.features.items()}
        task = model.spec.task if data.labels is None else task_of(data.labels)
        classes = model.spec.classes if task == model.spec.task else _numbers(data)
        selection = select(model, replace(data, labels=None, foreign_task=None), split, available, seed)
    if set(given.features) != set(model.spec.names):
        given = replace(
            given, features={name: given.features.get(name, r) for name, r in selection.split.features.items()}
        )
    own = {m.name: m for m in model.spec.modalities}
    modalities = (replace(own[name], length=lengths.get(name, own[name].length)) for name in given.features)
    return selection, given, Spec(tuple(modalities), task, classes)


def _numbers(split: Split) -> tuple[str, ...]:
    """Names for the classes of a split that comes without any; none for regression."""
    if split.labels is None or split.labels.dtype.kind == "f":
        return ()
    return tuple(map(str, range(max(2, 1 + int(split.labels.max(initial=0))))))


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
